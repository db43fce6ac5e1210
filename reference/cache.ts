/**
 * The cache as a kernel reads it: packed records, and rows as they came for the tail.
 *
 *   cache (pages, kvHeads, record bytes), pages in the order of page-table.ts
 *   kResidual, vResidual (requests, 128, kvHeads, headSize); rows tokens[r] % 128 and later of a
 *   request are unspecified and never looked at
 *
 * Dequantisation is code * scale + zero in float64, and that is exact for finite parameters: the
 * code has at most 8 bits and the scale 11, and product and zero are multiples of 2^-24 below 2^25.
 * It is the truth of what a cache says; how a kernel rounds on the way is the bound's business.
 *
 * Rows are dequantised a block at a time, because a whole head in float64 takes 16 times the memory
 * of its codes.
 */
import { type ElementType, elementValues, elementWords, f16Values, f64Array } from './format.js';
import {
  packPlainRecord,
  packRecord,
  recordBytes,
  unpackPlainRecord,
  unpackRecord,
} from './pack.js';
import {
  type PageTable,
  packedTokens,
  pageCount,
  pageLookup,
  recordCounts,
  tableError,
} from './page-table.js';
import { elementType, firstTokens, headRows, type Problem, visibleTokens } from './problem.js';
import { emptyQuantized, parameterCounts, type Quantized, quantizeRecord } from './quantize.js';
import { channelGroup, isPlain, recordTokens, type Scheme } from './scheme.js';

export { firstPages, packedTokens } from './page-table.js';

/** One KV head of one request. */
export interface HeadCache {
  readonly scheme: Scheme;
  readonly headSize: number;
  readonly tokens: number;
  /** type of the residual rows */
  readonly type: ElementType;
  /** tokens in quantised records: those below a multiple of 128, none of format "fp16" */
  readonly packed: number;
  /** codes (packed, headSize), params as Quantized has them */
  readonly k: Quantized;
  readonly v: Quantized;
  /** the other tokens, words of `type`, (tokens - packed, headSize) */
  readonly kResidual: Uint16Array;
  /** as kResidual */
  readonly vResidual: Uint16Array;
  /**
   * Rows as numbers, (tokens, headSize): of a cache with a layout of its own, which has been read
   * already. Nothing is packed then and the residual arrays are empty.
   */
  readonly dense?: { readonly k: Float64Array; readonly v: Float64Array };
}

function requireLength(name: string, found: number, required: number): void {
  if (found !== required) throw new RangeError(`${name}: length ${found}, ${required} is required`);
}

function requireTable(p: Problem, table: PageTable | undefined): void {
  const error = table === undefined ? null : tableError(p, table);
  if (error !== null) throw new RangeError(error);
}

function setRecord(all: Quantized, record: Quantized, index: number): void {
  all.codes.set(record.codes, index * record.codes.length);
  all.scales.set(record.scales, index * record.scales.length);
  all.zeros.set(record.zeros, index * record.zeros.length);
}

/** Rows are taken from the records or from the tail, not from both at once. */
function requireOnePart(head: HeadCache, first: number, count: number): void {
  if (first >= head.packed || first + count <= head.packed) return;
  throw new RangeError(`rows ${first} to ${first + count}: cross the end of the records`);
}

/** A head whose records are still to come; residual rows from `tail` on are the window's. */
function emptyHead(p: Problem, scheme: Scheme, tokens: number): HeadCache {
  const { headSize } = p;
  const packed = isPlain(scheme) ? 0 : packedTokens(tokens);
  const counts = isPlain(scheme) ? { k: 0, v: 0 } : parameterCounts(scheme, packed, headSize);
  const residual = () => new Uint16Array((tokens - packed) * headSize);
  return {
    ...{ scheme, headSize, tokens, packed, type: elementType(p) },
    k: emptyQuantized(packed, headSize, counts.k),
    v: emptyQuantized(packed, headSize, counts.v),
    kResidual: residual(),
    vResidual: residual(),
  };
}

/**
 * Reads a kernel's cache, (requests, kvHeads) in this order. Arrays are shaped as in the header.
 */
export function readCache(
  p: Problem,
  scheme: Scheme,
  cache: Uint8Array,
  kResidual: Uint16Array,
  vResidual: Uint16Array,
  table?: PageTable,
): HeadCache[] {
  const { kvHeads, headSize } = p;
  const bytes = recordBytes(scheme, headSize);
  const requests = p.tokens.length;
  requireTable(p, table);
  requireLength('cache', cache.length, pageCount(p, table) * kvHeads * bytes);
  const residualLength = requests * recordTokens * kvHeads * headSize;
  requireLength('kResidual', kResidual.length, residualLength);
  requireLength('vResidual', vResidual.length, residualLength);
  const pageOf = pageLookup(p, table);
  const records = recordCounts(p);
  const heads: HeadCache[] = [];
  for (let r = 0; r < requests; r++) {
    const tail = p.tokens[r] % recordTokens;
    for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
      const head = emptyHead(p, scheme, p.tokens[r]);
      for (let i = 0; i < records[r]; i++) {
        const from = (pageOf(r, i) * kvHeads + kvHead) * bytes;
        const record = cache.subarray(from, from + bytes);
        if (isPlain(scheme)) {
          const { k, v } = unpackPlainRecord(scheme, headSize, record);
          head.kResidual.set(k, i * k.length);
          head.vResidual.set(v, i * v.length);
        } else {
          const { k, v } = unpackRecord(scheme, headSize, record);
          setRecord(head.k, k, i);
          setRecord(head.v, v, i);
        }
      }
      const at = head.kResidual.length - tail * headSize;
      head.kResidual.set(headRows(p, kResidual, kvHead, r * recordTokens, tail), at);
      head.vResidual.set(headRows(p, vResidual, kvHead, r * recordTokens, tail), at);
      heads.push(head);
    }
  }
  return heads;
}

/** The record that a right kernel makes of 128 rows of one KV head, k and v (128, headSize). */
export function referenceRecord(
  p: Problem,
  scheme: Scheme,
  k: Uint16Array,
  v: Uint16Array,
): Uint8Array {
  if (isPlain(scheme)) return packPlainRecord(k, v);
  const { headSize } = p;
  return packRecord(scheme, headSize, quantizeRecord(scheme, k, v, headSize, elementType(p)));
}

/**
 * The bytes that a right kernel writes for k and v (sum of tokens, kvHeads, headSize). Residual
 * rows past the tail of a request, and pages that no record lies in, are 0 here; a kernel may leave
 * anything there.
 */
export function referenceCache(
  p: Problem,
  scheme: Scheme,
  k: Uint16Array,
  v: Uint16Array,
  table?: PageTable,
): { cache: Uint8Array; kResidual: Uint16Array; vResidual: Uint16Array } {
  const { kvHeads, headSize } = p;
  const bytes = recordBytes(scheme, headSize);
  const first = firstTokens(p);
  const requests = p.tokens.length;
  requireTable(p, table);
  requireLength('k', k.length, first[requests] * kvHeads * headSize);
  requireLength('v', v.length, first[requests] * kvHeads * headSize);
  const pageOf = pageLookup(p, table);
  const rowSize = kvHeads * headSize;
  const cache = new Uint8Array(pageCount(p, table) * kvHeads * bytes);
  const kResidual = new Uint16Array(requests * recordTokens * rowSize);
  const vResidual = new Uint16Array(requests * recordTokens * rowSize);
  const written = new Set<number>(); // a page that requests share is the first one's to write
  for (const [r, records] of recordCounts(p).entries()) {
    for (let i = 0; i < records; i++) {
      const page = pageOf(r, i);
      if (written.has(page)) continue;
      written.add(page);
      for (let head = 0; head < kvHeads; head++) {
        const from = first[r] + i * recordTokens;
        const kRows = headRows(p, k, head, from, recordTokens);
        const vRows = headRows(p, v, head, from, recordTokens);
        const record = referenceRecord(p, scheme, kRows, vRows);
        cache.set(record, (page * kvHeads + head) * bytes);
      }
    }
    // Tail rows keep their layout, so one run of elements moves.
    const tail = [(first[r] + records * recordTokens) * rowSize, first[r + 1] * rowSize] as const;
    kResidual.set(k.subarray(...tail), r * recordTokens * rowSize);
    vResidual.set(v.subarray(...tail), r * recordTokens * rowSize);
  }
  return { cache, kResidual, vResidual };
}

/** The first `tokens` tokens of a head, which shares its arrays. */
export function headPrefix(head: HeadCache, tokens: number): HeadCache {
  if (tokens === head.tokens) return head;
  return { ...head, tokens, packed: Math.min(head.packed, tokens) };
}

/**
 * A problem with several query tokens is one with a request for each of them, whose caches are
 * prefixes: query token i sees what it sees, and nothing else of it matters. heads (requests,
 * kvHeads) in, (requests, queryTokens, kvHeads) out; rows of q and of the output stay in place.
 */
export function oneQueryToken(
  p: Problem,
  heads: readonly HeadCache[],
): { readonly problem: Problem; readonly heads: readonly HeadCache[] } {
  const { queryTokens = 1, ...rest } = p;
  if (queryTokens === 1) return { problem: rest, heads };
  const tokens = visibleTokens(p);
  const prefixes = tokens.flatMap((visible, row) => {
    const request = Math.floor(row / queryTokens);
    const own = heads.slice(request * p.kvHeads, (request + 1) * p.kvHeads);
    return own.map((head) => headPrefix(head, Math.min(visible, head.tokens)));
  });
  return { problem: { ...rest, tokens }, heads: prefixes };
}

/** Copies rows of a dense head, (count, headSize), from token `first` on. */
function denseRows(x: Float64Array, first: number, rows: Float64Array, headSize: number): void {
  rows.set(x.subarray(first * headSize, first * headSize + rows.length));
}

/** Rows of the tail, (count, headSize), from token `first` of the request on. */
function tailRows(head: HeadCache, residual: Uint16Array, first: number, out: Float64Array): void {
  const from = (first - head.packed) * head.headSize;
  const values = elementValues(head.type);
  for (let i = 0; i < out.length; i++) out[i] = values[residual[from + i]];
}

/** Rows of packed tokens whose parameters belong to a token and a group of channels. */
function rowsPerToken(head: HeadCache, stored: Quantized, first: number, rows: Float64Array): void {
  const { headSize } = head;
  const group = channelGroup(head.scheme, headSize);
  const { codes, scales, zeros } = stored;
  for (let i = 0; i < rows.length; i += group) {
    const from = first * headSize + i;
    const scale = f16Values[scales[from / group]];
    const zero = f16Values[zeros[from / group]];
    for (let d = 0; d < group; d++) rows[i + d] = codes[from + d] * scale + zero;
  }
}

/**
 * Keys of tokens [first, first + count) in float64, (count, headSize), into `out` or a new array.
 * The tokens are all packed or all in the tail: a block of 128 that starts at a multiple of 128 is.
 */
export function keyRows(
  head: HeadCache,
  first: number,
  count: number,
  out: Float64Array = new Float64Array(count * head.headSize),
): Float64Array {
  const { headSize, packed, k, kResidual } = head;
  const rows = out.subarray(0, count * headSize);
  if (head.dense) {
    denseRows(head.dense.k, first, rows, headSize);
    return out;
  }
  requireOnePart(head, first, count);
  if (first >= packed) {
    tailRows(head, kResidual, first, rows);
    return out;
  }
  if (head.scheme.kAxis === 'token') {
    rowsPerToken(head, k, first, rows);
    return out;
  }
  const { codes } = k;
  const scales = new Float64Array(headSize);
  const zeros = new Float64Array(headSize);
  let group = -1;
  for (let t = 0; t < count; t++) {
    const own = Math.floor((first + t) / head.scheme.group);
    if (own !== group) {
      group = own;
      f64Array(k.scales.subarray(own * headSize, (own + 1) * headSize), scales);
      f64Array(k.zeros.subarray(own * headSize, (own + 1) * headSize), zeros);
    }
    const from = (first + t) * headSize;
    for (let d = 0; d < headSize; d++) {
      rows[t * headSize + d] = codes[from + d] * scales[d] + zeros[d];
    }
  }
  return out;
}

/** Values of tokens [first, first + count) in float64, (count, headSize), as keyRows. */
export function valueRows(
  head: HeadCache,
  first: number,
  count: number,
  out: Float64Array = new Float64Array(count * head.headSize),
): Float64Array {
  const rows = out.subarray(0, count * head.headSize);
  if (head.dense) {
    denseRows(head.dense.v, first, rows, head.headSize);
    return out;
  }
  requireOnePart(head, first, count);
  if (first >= head.packed) tailRows(head, head.vResidual, first, rows);
  else rowsPerToken(head, head.v, first, rows);
  return out;
}

/** All rows of a head, (tokens, headSize); for small heads, in tests and reports. */
export function allRows(head: HeadCache, rowsOf: typeof keyRows): Float64Array {
  const { headSize, tokens, packed } = head;
  const out = new Float64Array(tokens * headSize);
  rowsOf(head, 0, packed, out);
  rowsOf(head, packed, tokens - packed, out.subarray(packed * headSize));
  return out;
}

/**
 * The keys (or values) that a cache says, as words of the problem's type: code * scale + zero
 * rounded once, and what was kept as it is. heads (requests, kvHeads); (sum of tokens, kvHeads,
 * headSize).
 */
export function dequantized(
  p: Problem,
  heads: readonly HeadCache[],
  rowsOf: typeof keyRows,
): Uint16Array {
  const { kvHeads, headSize } = p;
  const first = firstTokens(p);
  const type = elementType(p);
  const out = new Uint16Array(first[p.tokens.length] * kvHeads * headSize);
  heads.forEach((head, index) => {
    const rows = allRows(head, rowsOf);
    const [request, kvHead] = [Math.floor(index / kvHeads), index % kvHeads];
    for (let t = 0; t < head.tokens; t++) {
      const at = ((first[request] + t) * kvHeads + kvHead) * headSize;
      const row = rows.subarray(t * headSize, (t + 1) * headSize);
      elementWords(type, row, out.subarray(at, at + headSize));
    }
  });
  return out;
}
