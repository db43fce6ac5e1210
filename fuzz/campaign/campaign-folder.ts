// campaign-folder.ts - the sole owner of the file names inside a campaign's folder.
//
//   campaign.json     what the campaign is (manifest.ts)
//   corpus.jsonl      the stored cases of its plan, copied when it began: a corpus that grows
//                     meanwhile would move every later position
//   lock              who runs it now; one left behind by a killed process counts for nothing
//   journal/          segments (journal.ts)
//   pending/          the case that each worker runs at this moment (workdir.ts)
//   findings/         one file each, smallest case and history

import {
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { canonicalJson } from '../../properties/case.js';
import { parseCase } from '../../properties/parse-case.js';
import type { StoredCase } from './case-file.js';
import { type Manifest, type ParsedManifest, parseManifest } from './manifest.js';
import { startTicks } from './process-tree.js';
import { reasonOf, writeDurably } from './workdir.js';

/** Far beyond any corpus that fits into a plan. */
const FILE_BYTES_MAX = 64 * 1024 * 1024;

export const manifestPath = (folder: string) => join(folder, 'campaign.json');
export const journalFolder = (folder: string) => join(folder, 'journal');
export const findingsFolder = (folder: string) => join(folder, 'findings');
const corpusPath = (folder: string) => join(folder, 'corpus.jsonl');
const lockPath = (folder: string) => join(folder, 'lock');

export function holdsCampaign(folder: string): boolean {
  return existsSync(manifestPath(folder));
}

/** One sentence for a folder that is no campaign's, or whose manifest cannot be used. */
export function readManifest(folder: string): ParsedManifest {
  const path = manifestPath(folder);
  if (!existsSync(path)) {
    return { kind: 'error', message: `${folder}: holds no campaign, campaign.json is required` };
  }
  const text = readBounded(path);
  if (text.kind === 'error') return text;
  let json: unknown;
  try {
    json = JSON.parse(text.text);
  } catch {
    return { kind: 'error', message: `${path}: is not JSON` };
  }
  const parsed = parseManifest(json);
  return parsed.kind === 'error' ? { ...parsed, message: `${path}: ${parsed.message}` } : parsed;
}

export function writeManifest(folder: string, manifest: Manifest): void {
  writeDurably(manifestPath(folder), `${JSON.stringify(manifest, null, 2)}\n`);
}

export function writeCorpus(folder: string, stored: readonly StoredCase[]): void {
  const lines = stored.map(
    ({ path, case: c }) => `{"origin":${JSON.stringify(path)},"case":${canonicalJson(c)}}\n`,
  );
  writeDurably(corpusPath(folder), lines.join(''));
}

export function readCorpus(
  folder: string,
): { kind: 'stored'; stored: StoredCase[] } | { kind: 'error'; message: string } {
  const path = corpusPath(folder);
  if (!existsSync(path)) return { kind: 'stored', stored: [] };
  const text = readBounded(path);
  if (text.kind === 'error') return text;
  const stored: StoredCase[] = [];
  for (const [index, line] of text.text.split('\n').entries()) {
    if (line === '') continue;
    const wrong = (what: string) => {
      return { kind: 'error' as const, message: `${path}: line ${index + 1} ${what}` };
    };
    let json: unknown;
    try {
      json = JSON.parse(line);
    } catch {
      return wrong('is not JSON');
    }
    const { origin, case: c } = (json ?? {}) as { origin?: unknown; case?: unknown };
    if (typeof origin !== 'string') return wrong('has no origin');
    const parsed = parseCase(c);
    if (parsed.kind === 'error') return wrong(`holds no case (${parsed.message})`);
    stored.push({ path: origin, case: parsed.case, finding: null });
  }
  return { kind: 'stored', stored };
}

function readBounded(
  path: string,
): { kind: 'text'; text: string } | { kind: 'error'; message: string } {
  try {
    const stat = statSync(path);
    if (!stat.isFile()) return { kind: 'error', message: `${path}: is not a regular file` };
    if (stat.size > FILE_BYTES_MAX) {
      const message = `${path}: has ${stat.size} bytes, at most ${FILE_BYTES_MAX} are read`;
      return { kind: 'error', message };
    }
    return { kind: 'text', text: readFileSync(path, 'utf8') };
  } catch (error) {
    return { kind: 'error', message: `${path}: cannot be read (${reasonOf(error)})` };
  }
}

export type LockResult =
  | { kind: 'locked'; release: () => void }
  | { kind: 'error'; message: string };

/**
 * One supervisor a folder. The holder is named by host, pid and the start time of its process, so
 * that a pid which was given to somebody else in the meantime holds nothing.
 */
export function lockCampaign(folder: string): LockResult {
  const path = lockPath(folder);
  const own = `${hostname()} ${process.pid} ${startTicks(process.pid) ?? 0}\n`;
  try {
    mkdirSync(folder, { recursive: true });
    for (let attempt = 0; attempt < 3; attempt++) {
      if (created(path, own)) return { kind: 'locked', release: () => releaseLock(path, own) };
      const holder = readFileSync(path, 'utf8');
      const [host, pid] = holder.trim().split(' ');
      if (isHeld(holder)) {
        const remedy = host === hostname() ? '' : `; remove ${path} if that machine is gone`;
        const message = `${folder}: process ${pid} on ${host} runs this campaign${remedy}`;
        return { kind: 'error', message };
      }
      takeAway(path, holder);
    }
    return { kind: 'error', message: `${folder}: another process takes the lock again and again` };
  } catch (error) {
    return { kind: 'error', message: `${folder}: cannot be locked (${reasonOf(error)})` };
  }
}

function created(path: string, text: string): boolean {
  // Written aside and linked: the lock is there with its whole text or not at all.
  const aside = `${path}.${process.pid}`;
  const file = openSync(aside, 'w');
  writeSync(file, text);
  closeSync(file);
  try {
    linkSync(aside, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

function isHeld(holder: string): boolean {
  const [host, pid, ticks] = holder.trim().split(' ');
  if (host !== hostname()) return true;
  const now = startTicks(Number(pid));
  return now !== null && (now === ticks || ticks === '0');
}

/** Only if it is still the one that was looked at; somebody else may have replaced it. */
function takeAway(path: string, holder: string): void {
  const aside = `${path}.stale.${process.pid}`;
  try {
    renameSync(path, aside);
  } catch {
    return; // somebody else took it away
  }
  if (readFileSync(aside, 'utf8') === holder) rmSync(aside, { force: true });
  else renameSync(aside, path);
}

function releaseLock(path: string, own: string): void {
  try {
    if (readFileSync(path, 'utf8') === own) rmSync(path, { force: true });
  } catch {
    // It is gone already.
  }
}
