// Pages of a case: every order is a permutation of the pool, shared pages are request 0's and hold
// its tokens, and nothing else depends on them.
import { describe, expect, it } from 'vitest';
import { recordCounts, tableError, usedPages } from '../reference/page-table.js';
import { CASE_SCHEMA, type Case, type PageOptions } from './case.js';
import { materialize, noSource } from './materialize.js';
import { hasSharedTokens, POISON_PAGE, pageTable, sharedTokens, unshared } from './pages.js';

const normal = (seed: number) => ({ distribution: 'normal' as const, seed, scale: 0, offset: 0 });

function caseOf(tokens: number[], pages?: PageOptions): Case {
  return {
    schema: CASE_SCHEMA,
    problem: { tokens, queryHeads: 2, kvHeads: 1, headSize: 64 },
    scheme: { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 64 },
    tensors: { q: normal(1), k: normal(2), v: normal(3) },
    options: { softmaxScale: 0.125, splits: 0, ...(pages === undefined ? {} : { pages }) },
  };
}

const pagesOf = (change: Partial<PageOptions> = {}): PageOptions => ({
  ...{ order: 'shuffled', seed: 5, spare: 3, sharedRecords: 0 },
  ...change,
});

const LENGTHS = [300, 0, 700, 129, 5];

describe('the page table', () => {
  it('is absent where a case has none', () => {
    expect(pageTable(caseOf(LENGTHS))).toBeUndefined();
  });

  it.each(['reversed', 'shuffled'] as const)('names every used page once: %s', (order) => {
    const c = caseOf(LENGTHS, pagesOf({ order }));
    const table = pageTable(c)!;
    expect(tableError(c.problem, table)).toBeNull();
    expect(table.stride).toBe(5);
    const records = recordCounts(c.problem);
    const own = records.flatMap((count, request) =>
      Array.from(table.entries.subarray(request * 5, request * 5 + count)),
    );
    expect(own.length).toBe(8);
    expect(new Set(own).size).toBe(8);
    expect(table.pages).toBe(11);
    expect(usedPages(c.problem, table).filter((used) => used === 0).length).toBe(3);
    const rest = Array.from(table.entries).filter((page) => !own.includes(page));
    expect(rest.length).toBe(5 * 5 - 8);
    expect(rest.every((page) => page === POISON_PAGE)).toBe(true);
  });

  it('is another one for another seed, and the same for the same', () => {
    const entries = (seed: number) => [...pageTable(caseOf([2000], pagesOf({ seed })))!.entries];
    expect(entries(1)).toEqual(entries(1));
    expect(entries(1)).not.toEqual(entries(2));
  });

  it('runs backwards where it is reversed', () => {
    const table = pageTable(caseOf([400], pagesOf({ order: 'reversed', spare: 0 })))!;
    expect([...table.entries]).toEqual([2, 1, 0]);
  });

  it('has an entry, never read, where there is no record', () => {
    const table = pageTable(caseOf([5, 0], pagesOf({ spare: 2 })))!;
    expect(table).toEqual({
      ...{ pages: 2, stride: 1 },
      entries: Int32Array.from([POISON_PAGE, POISON_PAGE]),
    });
  });
});

describe('shared pages', () => {
  const c = caseOf(LENGTHS, pagesOf({ sharedRecords: 2 }));

  it("are request 0's, as far as both requests have records", () => {
    expect(sharedTokens(c)).toEqual([0, 0, 256, 128, 0]);
    const { entries, stride, pages } = pageTable(c)!;
    expect([...entries.subarray(2 * stride, 2 * stride + 2)]).toEqual([...entries.subarray(0, 2)]);
    expect(entries[3 * stride]).toBe(entries[0]);
    expect(pages).toBe(8 - 3 + 3);
  });

  it('hold the tokens of request 0, and change no others', () => {
    const made = materialize(c, noSource);
    const plain = materialize(unshared(c), noSource);
    if (made.kind === 'error' || plain.kind === 'error') throw new Error('no tensors');
    const first = [0, 300, 300, 1000, 1129];
    for (const tensor of ['k', 'v'] as const) {
      const [x, y] = [made.inputs[tensor], plain.inputs[tensor]];
      const tokens = (z: Uint16Array, from: number, to: number) => [
        ...z.subarray(from * 64, to * 64),
      ];
      expect(tokens(x, first[2], first[2] + 256)).toEqual(tokens(x, 0, 256));
      expect(tokens(x, first[3], first[3] + 128)).toEqual(tokens(x, 0, 128));
      expect(tokens(x, first[2] + 256, first[3])).toEqual(tokens(y, first[2] + 256, first[3]));
      expect(tokens(y, first[2], first[2] + 256)).not.toEqual(tokens(y, 0, 256));
    }
    expect(made.inputs.q).toEqual(plain.inputs.q);
  });

  it('part where a relation needs requests of their own', () => {
    expect(hasSharedTokens(c)).toBe(true);
    expect(hasSharedTokens(unshared(c))).toBe(false);
    expect(unshared(caseOf(LENGTHS))).toEqual(caseOf(LENGTHS));
  });
});
