// Pages of a case: which page of the pool each record of each request lies in, as a function of the
// case, and which tokens requests have in common because they share pages.
//
// Used pages are numbered request by request; shared ones are request 0's. Where they lie is an
// order of the whole pool, spare pages included: reversed, or a shuffle by the seed. Entries behind
// the records of a request hold POISON_PAGE, which no pool contains: a kernel that follows one
// reads far outside.

import { type PageTable, recordCounts } from '../reference/page-table.js';
import { recordTokens } from '../reference/scheme.js';
import type { Case, PageOptions } from './case.js';
import { keyOf, word } from './generator.js';

export const POISON_PAGE = 0x7fffffff;

/** Stream of the generator. */
const PAGES = 0x70616765;

/** A permutation of 0 .. count - 1: where the i-th used page lies. */
function poolOrder({ order, seed }: PageOptions, count: number): Int32Array {
  const places = Int32Array.from({ length: count }, (_, i) => count - 1 - i);
  if (order === 'reversed') return places;
  const key = keyOf(seed, PAGES);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor((word(key, i) / 0x100000000) * (i + 1));
    [places[i], places[j]] = [places[j], places[i]];
  }
  return places;
}

/** Records that each request shares with request 0, (requests); 0 for request 0 itself. */
function sharedRecords(c: Case): number[] {
  const records = recordCounts(c.problem);
  const shared = c.options.pages?.sharedRecords ?? 0;
  return records.map((own, request) => (request === 0 ? 0 : Math.min(shared, own, records[0])));
}

/** Leading tokens of each request that are request 0's, (requests); 0 for request 0 itself. */
export function sharedTokens(c: Case): number[] {
  return sharedRecords(c).map((records) => records * recordTokens);
}

/** Whose a token of a request is: request 0's where pages are shared, else the request's own. */
export function tokenOwner(c: Case): (request: number, token: number) => number {
  const shared = sharedTokens(c);
  return (request, token) => (token < shared[request] ? 0 : request);
}

/** Whether requests have tokens in common. */
export function hasSharedTokens(c: Case): boolean {
  return sharedTokens(c).some((tokens) => tokens > 0);
}

/** The same case with a page of its own for every record: its requests may hold anything. */
export function unshared(c: Case): Case {
  const { pages } = c.options;
  if (pages === undefined || pages.sharedRecords === 0) return c;
  return { ...c, options: { ...c.options, pages: { ...pages, sharedRecords: 0 } } };
}

/** The page table of a case; undefined: no table, pages one after another. */
export function pageTable(c: Case): PageTable | undefined {
  const { pages: options } = c.options;
  if (options === undefined) return undefined;
  const records = recordCounts(c.problem);
  const shared = sharedRecords(c);
  const used = records.reduce((sum, own, request) => sum + own - shared[request], 0);
  const pages = used + options.spare;
  const places = poolOrder(options, pages);
  const stride = Math.max(1, ...records);
  const entries = new Int32Array(records.length * stride).fill(POISON_PAGE);
  let next = 0;
  records.forEach((own, request) => {
    for (let record = 0; record < own; record++) {
      entries[request * stride + record] =
        record < shared[request] ? entries[record] : places[next++];
    }
  });
  return { pages, stride, entries };
}
