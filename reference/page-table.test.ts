// Tests of page-table.ts: where records lie with and without a table, and what is refused.
import { describe, expect, it } from 'vitest';
import {
  firstPages,
  type PageTable,
  packedTokens,
  pageCount,
  pageLookup,
  recordCounts,
  tableError,
  usedPages,
} from './page-table.js';
import type { Problem } from './problem.js';

const p: Problem = { tokens: [300, 127, 128], queryHeads: 1, kvHeads: 1, headSize: 64 };
/** A pool of six pages; requests 0 and 2 begin with the same one, no record lies in the last. */
const table: PageTable = {
  ...{ pages: 6, stride: 2 },
  entries: Int32Array.from([4, 0, -1, -1, 4, 5]),
};

describe('pages in a row', () => {
  it('are the full records of all requests in order', () => {
    expect([0, 127, 128, 300].map(packedTokens)).toEqual([0, 0, 128, 256]);
    expect(recordCounts(p)).toEqual([2, 0, 1]);
    expect(firstPages(p)).toEqual([0, 2, 2, 3]);
    expect(pageCount(p)).toBe(3);
    const page = pageLookup(p);
    expect([page(0, 0), page(0, 1), page(2, 0)]).toEqual([0, 1, 2]);
    expect([...usedPages(p)]).toEqual([1, 1, 1]);
  });
});

describe('a page table', () => {
  it('says where each record lies; pages may be shared and left over', () => {
    expect(tableError(p, table)).toBeNull();
    expect(pageCount(p, table)).toBe(6);
    const page = pageLookup(p, table);
    expect([page(0, 0), page(0, 1), page(2, 0)]).toEqual([4, 0, 4]);
    expect([...usedPages(p, table)]).toEqual([1, 0, 0, 0, 1, 0]);
  });

  it('has an entry even where no request has a record', () => {
    const short = { ...p, tokens: [3] };
    const none = { pages: 0, stride: 1, entries: Int32Array.of(-1) };
    expect(tableError(short, none)).toBeNull();
    expect(tableError(short, { ...none, stride: 0, entries: new Int32Array(0) })).toBe(
      'pages.stride: 0, at least 1 is required',
    );
  });

  it.each([
    [{ stride: 1 }, 'pages.stride: 1, at least 2 is required'],
    [{ entries: new Int32Array(5) }, 'pages.entries: 5 for 3 requests of 2'],
    [{ pages: 4 }, 'pages.entries[0, 0]: 4 is not one of 4 pages'],
    [
      { entries: Int32Array.from([4, -1, 0, 0, 4, 0]) },
      'pages.entries[0, 1]: -1 is not one of 6 pages',
    ],
    [
      { entries: Int32Array.from([4, 0, 0, 0, 6, 0]) },
      'pages.entries[2, 0]: 6 is not one of 6 pages',
    ],
  ])('is refused where it does not fit: %o', (change, message) => {
    expect(tableError(p, { ...table, ...change })).toBe(message);
  });
});
