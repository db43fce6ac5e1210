/**
 * AttentionRows: where attention reads keys and values from, whatever holds them.
 *
 * Three sources: a packed cache of this project, plain arrays, and pages of a pool that a page
 * table puts in order. Pages change where a row lies and nothing else, so a paged call gives the
 * bits of the plain one. Slots of a page behind the last token are never read: they may hold
 * anything.
 */
import { type HeadCache, keyRows, valueRows } from './cache.js';

/** Keys and values of one KV head of one request in float64. */
export interface AttentionRows {
  readonly tokens: number;
  readonly headSize: number;
  /**
   * rows of tokens [first, first + count) into out, (count, headSize); first is a multiple of 128
   */
  keys(first: number, count: number, out: Float64Array): void;
  values(first: number, count: number, out: Float64Array): void;
}

export function cacheRows(head: HeadCache): AttentionRows {
  return {
    tokens: head.tokens,
    headSize: head.headSize,
    keys: (first, count, out) => void keyRows(head, first, count, out),
    values: (first, count, out) => void valueRows(head, first, count, out),
  };
}

/** k and v: (tokens, headSize), for example FormatSpec.exact of each. */
export function plainRows(k: Float64Array, v: Float64Array, headSize: number): AttentionRows {
  if (k.length !== v.length || k.length % headSize !== 0) {
    throw new RangeError(
      `k and v: lengths ${k.length} and ${v.length} are not one multiple of headSize ${headSize}`,
    );
  }
  const copy = (x: Float64Array) => (first: number, count: number, out: Float64Array) =>
    out.set(x.subarray(first * headSize, (first + count) * headSize));
  return { tokens: k.length / headSize, headSize, keys: copy(k), values: copy(v) };
}

/** Pages of keys and values of all requests. */
export interface PagePool {
  readonly pageTokens: number;
  readonly kvHeads: number;
  readonly headSize: number;
  /** (pages, pageTokens, kvHeads, headSize) */
  readonly keys: Float64Array;
  /** as keys */
  readonly values: Float64Array;
}

/** What is wrong with a page table for a pool, in one sentence, or null. Pages may be shared. */
export function pageTableError(
  pool: PagePool,
  pages: readonly number[],
  tokens: number,
): string | null {
  const pageSize = pool.pageTokens * pool.kvHeads * pool.headSize;
  if (!(pageSize > 0 && Number.isInteger(pageSize))) {
    return `pool: ${pool.pageTokens} tokens, ${pool.kvHeads} heads of ${pool.headSize} are no page`;
  }
  const count = pool.keys.length / pageSize;
  if (!Number.isInteger(count) || pool.values.length !== pool.keys.length) {
    const lengths = `${pool.keys.length} and ${pool.values.length}`;
    return `pool: lengths ${lengths} are not one whole number of pages of ${pageSize}`;
  }
  const needed = Math.ceil(tokens / pool.pageTokens);
  if (pages.length < needed) {
    return `pages: ${pages.length} entries, ${needed} are required for ${tokens} tokens`;
  }
  // Entries beyond the last token are not read; kernels see -1 or leftovers there.
  const bad = pages
    .slice(0, needed)
    .findIndex((x) => !(Number.isInteger(x) && x >= 0 && x < count));
  return bad < 0 ? null : `pages[${bad}]: ${pages[bad]} is not one of ${count} pages`;
}

/** KV head `kvHead` of the request whose logical page i is physical page pages[i]. */
export function pagedRows(
  pool: PagePool,
  pages: readonly number[],
  tokens: number,
  kvHead: number,
): AttentionRows {
  const error = pageTableError(pool, pages, tokens);
  if (error) throw new RangeError(error);
  const { pageTokens, kvHeads, headSize } = pool;
  const copy = (x: Float64Array) => (first: number, count: number, out: Float64Array) => {
    for (let t = 0; t < count; t++) {
      const page = pages[Math.floor((first + t) / pageTokens)];
      const slot = (first + t) % pageTokens;
      const from = ((page * pageTokens + slot) * kvHeads + kvHead) * headSize;
      out.set(x.subarray(from, from + headSize), t * headSize);
    }
  };
  return { tokens, headSize, keys: copy(pool.keys), values: copy(pool.values) };
}
