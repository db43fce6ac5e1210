// finding-store.ts - a folder of findings: one file each, written whole or not at all.
//
// The same failure (property, signature, kernel) in the same case is counted in its file. A
// different finding never overwrites one: two kernels that fail in the same case get names with a
// number behind.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readCaseFile, readCases, type StoredCase } from './case-file.js';
import { type Finding, findingJson, type StoredFinding } from './finding.js';
import { reasonOf, writeDurably } from './workdir.js';

export type StoreResult =
  | { kind: 'stored'; finding: Finding; path: string }
  | { kind: 'error'; message: string };

/** The id and the replay command depend on the path, which is decided here. */
export function storeFinding(
  folder: string,
  finding: Finding,
  replayOf: (path: string) => string,
): StoreResult {
  for (let number = 1; ; number++) {
    const id = number === 1 ? finding.id : `${finding.id}-${number}`;
    const path = join(folder, `${id}.json`);
    const known = existsSync(path) ? readCaseFile(path) : null;
    if (known?.kind === 'error') continue; // somebody else's file: it stays as it is
    const before = known?.stored.finding ?? null;
    if (known !== null && (before === null || !isSame(before, finding))) continue;
    const placed: Finding = {
      ...finding,
      id,
      replay: replayOf(path),
      firstSeen: before?.firstSeen ?? finding.firstSeen,
      count: finding.count + (before?.count ?? 0),
    };
    try {
      writeDurably(path, findingJson(placed));
    } catch (error) {
      return { kind: 'error', message: `${path}: cannot be written (${reasonOf(error)})` };
    }
    return { kind: 'stored', finding: placed, path };
  }
}

function isSame(a: StoredFinding, b: Finding): boolean {
  return a.property === b.property && a.signature === b.signature && a.kernel === b.kernel;
}

export type BaselineResult =
  | { kind: 'baseline'; has: (property: string, signature: string) => boolean }
  | { kind: 'error'; message: string };

/** Findings that are known and not red. The kernel does not count: a baseline outlives its URI. */
export function readBaseline(folder: string): BaselineResult {
  const read = readCases(folder);
  if (read.kind === 'error') return { kind: 'error', message: `--baseline: ${read.message}` };
  const known = new Set(read.stored.flatMap(keyOf));
  return {
    kind: 'baseline',
    has: (property, signature) => known.has(`${property} ${signature}`),
  };
}

function keyOf({ finding }: StoredCase): string[] {
  return finding === null ? [] : [`${finding.property} ${finding.signature}`];
}
