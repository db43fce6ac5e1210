// Which files of a corpus can go: covers keep every cell and signature, and duplicates are found.
import { cpSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { canonicalJson, coverageCells, featureCells } from '../../properties/index.js';
import { corpus } from '../commands/corpus.js';
import { readCases, type StoredCase } from './case-file.js';
import { minimised, pruned } from './corpus-care.js';

function seeds(): StoredCase[] {
  const read = readCases('corpus/seeds');
  if (read.kind === 'error') throw new Error(read.message);
  return read.stored;
}

const cellsOf = (stored: readonly StoredCase[]) =>
  new Set(stored.flatMap((one) => [...coverageCells(one.case), ...featureCells(one.case)]));

const finding = (path: string, like: StoredCase, signature: string): StoredCase => ({
  ...{ path, case: like.case },
  finding: { property: 'error-bound', signature } as StoredCase['finding'],
});

describe('minimise', () => {
  it('keeps every coverage cell, and nothing that adds none', () => {
    const all = seeds();
    const twice = [...all, ...all.map((one) => ({ ...one, path: `${one.path}.again` }))];
    const gone = new Set(minimised(twice).map(({ path }) => path));
    const kept = twice.filter(({ path }) => !gone.has(path));
    expect(cellsOf(kept)).toEqual(cellsOf(all));
    expect(kept.length).toBeLessThanOrEqual(all.length);
    for (const one of kept) {
      expect(cellsOf(kept.filter((other) => other !== one)).size).toBeLessThan(cellsOf(kept).size);
    }
  });

  it('keeps a finding of each signature, the cheapest', () => {
    const [small, large] = [...seeds()].sort(
      (a, b) => a.case.problem.tokens[0] - b.case.problem.tokens[0],
    );
    const stored = [
      finding('large.json', large, 'error-bound/output'),
      finding('small.json', small, 'error-bound/output'),
      finding('other.json', large, 'error-bound/lse'),
      finding('third.json', large, 'error-bound/lse'),
    ];
    const gone = minimised(stored).map(({ path }) => path);
    expect(gone).toEqual(['large.json', 'third.json']);
  });
});

describe('prune', () => {
  it('finds files that repeat another, and cases that nobody supports', () => {
    const [one, two] = seeds();
    const copy = { ...one, path: 'z-copy.json' };
    const unsupported = (c: StoredCase['case']) => (c === two.case ? 'nobody runs it' : null);
    expect(
      pruned([one, two, copy, finding('a.json', one, 'error-bound/lse')], unsupported),
    ).toEqual([
      { path: two.path, why: 'nobody runs it' },
      { path: 'z-copy.json', why: `says what ${one.path} says` },
    ]);
  });

  it('removes them from a folder only if told to', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'kvproof-corpus-'));
    cpSync('corpus/seeds', folder, { recursive: true });
    const [first] = seeds();
    writeFileSync(join(folder, 'zz.json'), canonicalJson(first.case));
    const written = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
    const files = readdirSync(folder).length;
    const flags = { kernel: [], workdir: join(folder, 'work'), json: false };
    expect(await corpus('prune', folder, { ...flags, write: false })).toBe(0);
    expect(readdirSync(folder)).toContain('zz.json');
    expect(await corpus('prune', folder, { ...flags, write: true })).toBe(0);
    written.mockRestore();
    expect(readdirSync(folder)).not.toContain('zz.json');
    expect(readdirSync(folder)).toHaveLength(files - 1);
  });
});
