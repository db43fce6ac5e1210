/**
 * The cache as a kernel reads it: packed records, and fp16 rows for the tail.
 *
 *   cache (pages, kvHeads, record bytes); request r owns floor(tokens[r] / 128) consecutive pages
 *   kResidual, vResidual (requests, 128, kvHeads, headSize); rows tokens[r] % 128 and later of a
 *   request are unspecified and never looked at
 *
 * Dequantisation is code * scale + zero in float64, and that is exact for finite parameters: the
 * code has at most 4 bits and the scale 11, and product and zero are multiples of 2^-24 below 2^21.
 * It is the truth of what a cache says; how a kernel rounds on the way is the bound's business.
 *
 * Rows are dequantised a block at a time, because a whole head in float64 takes 16 times the memory
 * of its codes.
 */
import { f16Values, f64Array } from './format.js';
import { packRecord, recordBytes, unpackRecord } from './pack.js';
import { firstTokens, headRows, type Problem } from './problem.js';
import { emptyQuantized, type Quantized, quantizeK, quantizeV } from './quantize.js';
import { recordTokens, type Scheme } from './scheme.js';

/** One KV head of one request. */
export interface HeadCache {
  readonly scheme: Scheme;
  readonly headSize: number;
  readonly tokens: number;
  /** tokens in records: the largest multiple of 128 that is not above `tokens` */
  readonly packed: number;
  /** codes (packed, headSize), params (packed / group, headSize) */
  readonly k: Quantized;
  /** codes (packed, headSize), params (packed, headSize / group) */
  readonly v: Quantized;
  /** fp16 bits, (tokens - packed, headSize) */
  readonly kResidual: Uint16Array;
  /** as kResidual */
  readonly vResidual: Uint16Array;
  /**
   * Rows as numbers, (tokens, headSize): of a cache with a layout of its own, which has been read
   * already. Nothing is packed then and the residual arrays are empty.
   */
  readonly dense?: { readonly k: Float64Array; readonly v: Float64Array };
}

/** Packed tokens of a request with `tokens` tokens. */
export function packedTokens(tokens: number): number {
  return tokens - (tokens % recordTokens);
}

/** First page of each request, (requests + 1): exclusive prefix sums. */
export function firstPages(p: Problem): number[] {
  const first = [0];
  for (const t of p.tokens) first.push(first[first.length - 1] + packedTokens(t) / recordTokens);
  return first;
}

function requireLength(name: string, found: number, required: number): void {
  if (found !== required) throw new RangeError(`${name}: length ${found}, ${required} is required`);
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

/**
 * Reads a kernel's cache, (requests, kvHeads) in this order. Arrays are shaped as in the header.
 */
export function readCache(
  p: Problem,
  scheme: Scheme,
  cache: Uint8Array,
  kResidual: Uint16Array,
  vResidual: Uint16Array,
): HeadCache[] {
  const { kvHeads, headSize } = p;
  const bytes = recordBytes(scheme);
  const pages = firstPages(p);
  const requests = p.tokens.length;
  requireLength('cache', cache.length, pages[requests] * kvHeads * bytes);
  const residualLength = requests * recordTokens * kvHeads * headSize;
  requireLength('kResidual', kResidual.length, residualLength);
  requireLength('vResidual', vResidual.length, residualLength);
  const heads: HeadCache[] = [];
  for (let r = 0; r < requests; r++) {
    const tokens = p.tokens[r];
    const packed = packedTokens(tokens);
    for (let head = 0; head < kvHeads; head++) {
      const k = emptyQuantized(packed, headSize, scheme.group);
      const v = emptyQuantized(packed, headSize, scheme.group);
      for (let i = 0; i < packed / recordTokens; i++) {
        const from = ((pages[r] + i) * kvHeads + head) * bytes;
        const record = unpackRecord(scheme, cache.subarray(from, from + bytes));
        setRecord(k, record.k, i);
        setRecord(v, record.v, i);
      }
      const residual = (x: Uint16Array) => headRows(p, x, head, r * recordTokens, tokens - packed);
      heads.push({
        ...{ scheme, headSize, tokens, packed, k, v },
        kResidual: residual(kResidual),
        vResidual: residual(vResidual),
      });
    }
  }
  return heads;
}

/**
 * The bytes that a right kernel writes for k and v (sum of tokens, kvHeads, headSize). Residual
 * rows past the tail of a request are 0 here; a kernel may leave anything there.
 */
export function referenceCache(
  p: Problem,
  scheme: Scheme,
  k: Uint16Array,
  v: Uint16Array,
): { cache: Uint8Array; kResidual: Uint16Array; vResidual: Uint16Array } {
  const { kvHeads, headSize } = p;
  const bytes = recordBytes(scheme);
  const first = firstTokens(p);
  const pages = firstPages(p);
  const requests = p.tokens.length;
  requireLength('k', k.length, first[requests] * kvHeads * headSize);
  requireLength('v', v.length, first[requests] * kvHeads * headSize);
  const rowSize = kvHeads * headSize;
  const cache = new Uint8Array(pages[requests] * kvHeads * bytes);
  const kResidual = new Uint16Array(requests * recordTokens * rowSize);
  const vResidual = new Uint16Array(requests * recordTokens * rowSize);
  for (let r = 0; r < requests; r++) {
    const packed = packedTokens(p.tokens[r]);
    for (let page = 0; page < packed / recordTokens; page++) {
      for (let head = 0; head < kvHeads; head++) {
        const from = first[r] + page * recordTokens;
        const kRows = headRows(p, k, head, from, recordTokens);
        const vRows = headRows(p, v, head, from, recordTokens);
        const record = packRecord(
          scheme,
          quantizeK(scheme, kRows, recordTokens, headSize),
          quantizeV(scheme, vRows, recordTokens, headSize),
        );
        cache.set(record, ((pages[r] + page) * kvHeads + head) * bytes);
      }
    }
    // Tail rows keep their layout, so one run of elements moves.
    const tail = [(first[r] + packed) * rowSize, first[r + 1] * rowSize] as const;
    kResidual.set(k.subarray(...tail), r * recordTokens * rowSize);
    vResidual.set(v.subarray(...tail), r * recordTokens * rowSize);
  }
  return { cache, kResidual, vResidual };
}

/** Copies rows of a dense head, (count, headSize), from token `first` on. */
function denseRows(x: Float64Array, first: number, rows: Float64Array, headSize: number): void {
  rows.set(x.subarray(first * headSize, first * headSize + rows.length));
}

/** Rows of the fp16 tail, (count, headSize), from token `first` of the request on. */
function tailRows(head: HeadCache, residual: Uint16Array, first: number, out: Float64Array): void {
  const from = (first - head.packed) * head.headSize;
  const values = f16Values;
  for (let i = 0; i < out.length; i++) out[i] = values[residual[from + i]];
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
  const { headSize, packed, v, vResidual } = head;
  const { group } = head.scheme;
  const rows = out.subarray(0, count * headSize);
  if (head.dense) {
    denseRows(head.dense.v, first, rows, headSize);
    return out;
  }
  requireOnePart(head, first, count);
  if (first >= packed) {
    tailRows(head, vResidual, first, rows);
    return out;
  }
  const { codes } = v;
  for (let i = 0; i < rows.length; i += group) {
    const from = first * headSize + i;
    const scale = f16Values[v.scales[from / group]];
    const zero = f16Values[v.zeros[from / group]];
    for (let d = 0; d < group; d++) rows[i + d] = codes[from + d] * scale + zero;
  }
  return out;
}

/** All rows of a head, (tokens, headSize); for small heads, in tests and reports. */
export function allRows(head: HeadCache, rowsOf: typeof keyRows): Float64Array {
  const { headSize, tokens, packed } = head;
  const out = new Float64Array(tokens * headSize);
  if (packed > 0) rowsOf(head, 0, packed, out);
  if (tokens > packed) rowsOf(head, packed, tokens - packed, out.subarray(packed * headSize));
  return out;
}
