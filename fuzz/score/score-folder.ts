// score-folder.ts - what a score keeps on the disk, so that one that was cut off goes on.
//
//   score/state.json             what was asked for, and whether it ended
//   score/results/<hash>.json    one mutant each, written when it was done
//
// A result belongs to the text of the mutant, to the options, to the kernels' sources and to this
// program; if any of them is another one, the score starts anew. So does a score that had ended.

import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../campaign/package-root.js';
import { writeDurably } from '../campaign/workdir.js';
import type { MutantFile } from './mutant-set.js';
import type { MutantResult } from './result.js';

export class ScoreFolder {
  private constructor(
    private readonly folder: string,
    private readonly key: string,
    private readonly known: ReadonlyMap<string, MutantResult>,
  ) {}

  /** `asked`: everything that decides the results, besides sources and program. */
  static open(workdir: string, asked: unknown): ScoreFolder {
    const folder = join(workdir, 'score');
    const key = hashOf(JSON.stringify(asked), programHash());
    const known = new Map<string, MutantResult>();
    const state = readJson(join(folder, 'state.json')) as { key?: string; ended?: boolean } | null;
    const results = join(folder, 'results');
    if (state?.key === key && state.ended === false && existsSync(results)) {
      for (const name of readdirSync(results).filter((file) => /^[0-9a-f]+\.json$/.test(file))) {
        const result = readJson(join(results, name)) as MutantResult | null;
        if (result !== null) known.set(name.replace('.json', ''), result);
      }
    } else {
      rmSync(results, { recursive: true, force: true });
    }
    const opened = new ScoreFolder(folder, key, known);
    opened.writeState(false);
    return opened;
  }

  /** What an earlier run that was cut off found out about it. */
  resultOf(file: MutantFile): MutantResult | null {
    return this.known.get(nameOf(file)) ?? null;
  }

  keep(file: MutantFile, result: MutantResult): void {
    writeDurably(join(this.folder, 'results', `${nameOf(file)}.json`), jsonOf(result));
  }

  end(): void {
    this.writeState(true);
  }

  private writeState(ended: boolean): void {
    writeDurably(join(this.folder, 'state.json'), JSON.stringify({ key: this.key, ended }));
  }
}

function nameOf({ path, hash }: MutantFile): string {
  return hashOf(path, hash).slice(0, 32);
}

/** JSON has no Infinity, which an error often is. */
function jsonOf(result: MutantResult): string {
  return JSON.stringify(result, (_, x) => (x === Number.POSITIVE_INFINITY ? 'Infinity' : x));
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'), (_, x) =>
      x === 'Infinity' ? Number.POSITIVE_INFINITY : x,
    );
  } catch {
    return null; // not there, or cut off by hand: as if it had never been
  }
}

function hashOf(...parts: readonly (string | Buffer)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest('hex');
}

/** Of this program as it runs and of the kernels' sources. */
function programHash(): string {
  const program = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
  const folders = ['reference', 'properties', 'fuzz'].map((name) => join(program, name));
  const native = ['kernels', 'simt', 'mma', 'host', 'plugin'].map((name) =>
    join(packageRoot(), 'native', name),
  );
  const texts = [...folders, ...native].flatMap((folder) =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && /\.(js|ts|h|cpp|cu)$/.test(entry.name))
      .map((entry) => join(entry.parentPath, entry.name))
      .sort()
      .flatMap((path) => [path, readFileSync(path)]),
  );
  return hashOf(...texts);
}
