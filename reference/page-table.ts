/**
 * Pages: where the records of a request lie in a cache. A page is one record of 128 tokens of all
 * KV heads.
 *
 * Without a page table the pages of the requests follow one another. With one, the cache is a pool
 * of pages in any order, and entry i of a request names the page of its record i; several requests
 * may name the same page. Entries behind the records of a request are never read.
 */
import type { Problem } from './problem.js';
import { recordTokens } from './scheme.js';

export interface PageTable {
  /** pages of the pool */
  readonly pages: number;
  /** entries of a request, at least 1 */
  readonly stride: number;
  /** (requests, stride) */
  readonly entries: Int32Array;
}

/** Packed tokens of a request with `tokens` tokens. */
export function packedTokens(tokens: number): number {
  return tokens - (tokens % recordTokens);
}

/** Records of each request, (requests). */
export function recordCounts(p: Problem): number[] {
  return p.tokens.map((tokens) => packedTokens(tokens) / recordTokens);
}

/** First page of each request without a table, (requests + 1): exclusive prefix sums. */
export function firstPages(p: Problem): number[] {
  const first = [0];
  for (const records of recordCounts(p)) first.push(first[first.length - 1] + records);
  return first;
}

/** Pages of the cache. */
export function pageCount(p: Problem, table?: PageTable): number {
  return table?.pages ?? firstPages(p)[p.tokens.length];
}

/** The page of record `record` of request `request`. */
export type PageOf = (request: number, record: number) => number;

export function pageLookup(p: Problem, table?: PageTable): PageOf {
  if (table === undefined) {
    const first = firstPages(p);
    return (request, record) => first[request] + record;
  }
  return (request, record) => table.entries[request * table.stride + record];
}

/** What is wrong with a page table for a problem, in one sentence, or null. */
export function tableError(p: Problem, table: PageTable): string | null {
  const { pages, stride, entries } = table;
  const most = Math.max(1, ...recordCounts(p));
  if (stride < most) return `pages.stride: ${stride}, at least ${most} is required`;
  if (entries.length !== p.tokens.length * stride) {
    return `pages.entries: ${entries.length} for ${p.tokens.length} requests of ${stride}`;
  }
  for (const [request, records] of recordCounts(p).entries()) {
    for (let record = 0; record < records; record++) {
      const page = entries[request * stride + record];
      if (page >= 0 && page < pages) continue;
      return `pages.entries[${request}, ${record}]: ${page} is not one of ${pages} pages`;
    }
  }
  return null;
}

/** Pages that some record lies in, (pages): 1, else 0. */
export function usedPages(p: Problem, table?: PageTable): Uint8Array {
  const used = new Uint8Array(pageCount(p, table));
  const page = pageLookup(p, table);
  for (const [request, records] of recordCounts(p).entries()) {
    for (let record = 0; record < records; record++) used[page(request, record)] = 1;
  }
  return used;
}
