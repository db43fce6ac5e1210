/**
 * Decode attention in float64 over a dequantised cache: the number that a kernel is judged by.
 *
 * For a query q and the keys k_j and values v_j of its KV head, j = 0 .. tokens - 1:
 *   s_j = scale * sum_i q_i k_ji      M = max_j s_j      w_j = e^(s_j - M)      L = sum_j w_j
 *   output = sum_j w_j v_j / L        lse = M + ln L
 * in two passes, no running maximum, no splits. Without tokens the output is 0 and lse is -Inf. A
 * query token sees the tokens up to its own; each is a request of its own here (oneQueryToken).
 * Inf and NaN follow IEEE arithmetic in this order of operations; what a kernel may do with them is
 * judged by class elsewhere.
 *
 * softmaxScale is rounded to binary32 first, because that is what a kernel is given.
 * Error: a float64 sum of n terms is off by at most n 2^-53 of the sum of magnitudes and exp2 by
 * 2^-50, both below 2^-20 of a kernel's unit u = 2^-24 for 10^5 tokens; bound.ts adds them.
 *
 * Blocks of 128 tokens are dequantised once for all query heads of a KV head, and four tokens
 * are taken at a time; this changes the order of summation and nothing else.
 */
import { type HeadCache, keyRows, oneQueryToken, valueRows } from './cache.js';
import { exp2, ln2, log2, log2e } from './exp.js';
import { f64Array } from './format.js';
import { elementType, type Problem, queriesPerKvHead } from './problem.js';

export interface Attention {
  /** (requests, queryTokens, queryHeads, headSize) */
  readonly output: Float64Array;
  /** natural log of the sum of exponentials, (requests, queryTokens, queryHeads) */
  readonly lse: Float64Array;
}

/** Tokens that are dequantised at a time: K and V of a block fit in a second-level cache. */
const blockTokens = 128;

/** scores[t] = sum_i q_i rows[t][i]; rows (count, size), q (size), scores (count). */
export function dotRows(
  rows: Float64Array,
  q: Float64Array,
  scores: Float64Array,
  count: number,
  size: number,
): void {
  let t = 0;
  for (; t + 4 <= count; t += 4) {
    const r0 = t * size;
    const r1 = r0 + size;
    const r2 = r1 + size;
    const r3 = r2 + size;
    let s0 = 0;
    let s1 = 0;
    let s2 = 0;
    let s3 = 0;
    for (let i = 0; i < size; i++) {
      const x = q[i];
      s0 += x * rows[r0 + i];
      s1 += x * rows[r1 + i];
      s2 += x * rows[r2 + i];
      s3 += x * rows[r3 + i];
    }
    scores[t] = s0;
    scores[t + 1] = s1;
    scores[t + 2] = s2;
    scores[t + 3] = s3;
  }
  for (; t < count; t++) {
    let s = 0;
    for (let i = 0; i < size; i++) s += q[i] * rows[t * size + i];
    scores[t] = s;
  }
}

/** sums[d] += sum_t weights[t] rows[t][d]; rows (count, size), weights (count), sums (size). */
export function addWeightedRows(
  rows: Float64Array,
  weights: Float64Array,
  sums: Float64Array,
  count: number,
  size: number,
): void {
  let t = 0;
  for (; t + 4 <= count; t += 4) {
    const w0 = weights[t];
    const w1 = weights[t + 1];
    const w2 = weights[t + 2];
    const w3 = weights[t + 3];
    const r0 = t * size;
    const r1 = r0 + size;
    const r2 = r1 + size;
    const r3 = r2 + size;
    for (let d = 0; d < size; d++) {
      sums[d] += w0 * rows[r0 + d] + w1 * rows[r1 + d] + (w2 * rows[r2 + d] + w3 * rows[r3 + d]);
    }
  }
  for (; t < count; t++) {
    for (let d = 0; d < size; d++) sums[d] += weights[t] * rows[t * size + d];
  }
}

/** Turns base-2 scores into 2^(score - maximum), in place; returns the maximum and the sum. */
export function softmaxWeights(scores: Float64Array): { max: number; sum: number } {
  let max = Number.NEGATIVE_INFINITY;
  for (let j = 0; j < scores.length; j++) max = Math.max(max, scores[j]);
  let sum = 0;
  for (let j = 0; j < scores.length; j++) {
    scores[j] = exp2(scores[j] - max);
    sum += scores[j];
  }
  return { max, sum };
}

/**
 * All query heads of one KV head. q, output (queries, headSize); lse (queries); rows, scratch,
 * (blockTokens, headSize).
 */
function attendHead(
  head: HeadCache,
  scale: number,
  q: Float64Array,
  output: Float64Array,
  lse: Float64Array,
  rows: Float64Array,
): void {
  const { tokens, headSize } = head;
  const queries = lse.length;
  const scores = new Float64Array(queries * tokens);
  for (let first = 0; first < tokens; first += blockTokens) {
    const count = Math.min(blockTokens, tokens - first);
    keyRows(head, first, count, rows);
    for (let h = 0; h < queries; h++) {
      const query = q.subarray(h * headSize, (h + 1) * headSize);
      const from = h * tokens + first;
      dotRows(rows, query, scores.subarray(from, from + count), count, headSize);
    }
  }
  const sums: number[] = [];
  for (let h = 0; h < queries; h++) {
    const row = scores.subarray(h * tokens, (h + 1) * tokens);
    for (let j = 0; j < tokens; j++) row[j] *= scale * log2e;
    const { max, sum } = softmaxWeights(row);
    sums.push(sum);
    lse[h] = tokens === 0 ? Number.NEGATIVE_INFINITY : ln2 * (max + log2(sum));
  }
  for (let first = 0; first < tokens; first += blockTokens) {
    const count = Math.min(blockTokens, tokens - first);
    valueRows(head, first, count, rows);
    for (let h = 0; h < queries; h++) {
      const weights = scores.subarray(h * tokens + first, h * tokens + first + count);
      const sum = output.subarray(h * headSize, (h + 1) * headSize);
      addWeightedRows(rows, weights, sum, count, headSize);
    }
  }
  if (tokens === 0) return;
  for (let i = 0; i < output.length; i++) output[i] /= sums[Math.floor(i / headSize)];
}

/**
 * q: words of the problem's type, (requests, queryTokens, queryHeads, headSize); heads: (requests,
 * kvHeads), from readCache.
 */
export function attend(
  p: Problem,
  softmaxScale: number,
  q: Uint16Array,
  heads: readonly HeadCache[],
): Attention {
  const flat = oneQueryToken(p, heads);
  const { queryHeads, kvHeads, headSize } = p;
  const requests = flat.problem.tokens.length;
  const queries = queriesPerKvHead(p);
  const output = new Float64Array(requests * queryHeads * headSize);
  const lse = new Float64Array(requests * queryHeads);
  const qValues = f64Array(q, undefined, elementType(p));
  const rows = new Float64Array(blockTokens * headSize);
  for (let i = 0; i < requests * kvHeads; i++) {
    // (requests, queryHeads) = (requests, kvHeads, queries): the queries of head i are consecutive.
    const elements = [i * queries * headSize, (i + 1) * queries * headSize] as const;
    attendHead(
      flat.heads[i],
      Math.fround(softmaxScale),
      qValues.subarray(...elements),
      output.subarray(...elements),
      lse.subarray(i * queries, (i + 1) * queries),
      rows,
    );
  }
  return { output, lse };
}
