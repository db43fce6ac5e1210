// shard-artifact.ts - the folder of a finished shard as one text, so that it can travel through a
// queue, and back into a folder on another machine.
//
// What comes out of a queue may have been put there by anybody: names are taken from a short list
// of forms, so that nothing is written outside the folder, and the size is bounded before and after
// it is unpacked.

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';

/** Of the text; a shard of 100,000 cases has 5 MB. */
const PACKED_MAX = 64 * 1024 * 1024;
const UNPACKED_MAX = 512 * 1024 * 1024;

const FORMS = [
  /^campaign\.json$/,
  /^corpus\.jsonl$/,
  /^journal\/[a-z0-9]+-\d+\.jsonl$/,
  /^findings\/[a-z0-9-]+\.json$/,
];

export function packShard(folder: string): string {
  const files: Record<string, string> = {};
  for (const part of ['', 'journal', 'findings']) {
    if (!existsSync(join(folder, part))) continue;
    for (const name of readdirSync(join(folder, part))) {
      const path = part === '' ? name : `${part}/${name}`;
      if (!FORMS.some((form) => form.test(path))) continue;
      files[path] = readFileSync(join(folder, path), 'utf8');
    }
  }
  return gzipSync(JSON.stringify(files)).toString('base64');
}

/** Makes the folder anew; null, or one sentence that says why there is none. */
export function unpackShard(packed: string, folder: string): string | null {
  if (packed.length > PACKED_MAX) return `has ${packed.length} characters, too many`;
  let files: unknown;
  try {
    const bytes = gunzipSync(Buffer.from(packed, 'base64'), { maxOutputLength: UNPACKED_MAX });
    files = JSON.parse(bytes.toString('utf8'));
  } catch {
    return 'is no packed shard';
  }
  if (typeof files !== 'object' || files === null) return 'is no packed shard';
  const entries = Object.entries(files);
  for (const [path, text] of entries) {
    if (!FORMS.some((form) => form.test(path)) || typeof text !== 'string') {
      return `holds ${JSON.stringify(path.slice(0, 80))}, which is no file of a campaign`;
    }
  }
  rmSync(folder, { recursive: true, force: true });
  for (const part of ['journal', 'findings']) mkdirSync(join(folder, part), { recursive: true });
  for (const [path, text] of entries) writeFileSync(join(folder, path), text as string);
  return null;
}
