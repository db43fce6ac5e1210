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
 * Blocks of 128 tokens are dequantised once for all query heads of a KV head. The order of sums is
 * that of block-math.ts: blocks do not change it.
 */
import {
  blockKeys,
  blockTokens,
  blockValues,
  type RowRoom,
  rowRoom,
  rowRoomBytes,
} from './block-rows.js';
import { openBlockMath } from './block-simd.js';
import { type HeadCache, oneQueryToken } from './cache.js';
import { exp2, ln2, log2, log2e } from './exp.js';
import { f64Array } from './format.js';
import { elementType, type Problem, queriesPerKvHead } from './problem.js';

export interface Attention {
  /** (requests, queryTokens, queryHeads, headSize) */
  readonly output: Float64Array;
  /** natural log of the sum of exponentials, (requests, queryTokens, queryHeads) */
  readonly lse: Float64Array;
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

/** Room for one block of tokens of one KV head, in the memory of `math`. */
interface Scratch {
  readonly room: RowRoom;
  /** (queries, headSize) each */
  readonly q: Float64Array;
  readonly sums: Float64Array;
  /** scores, then weights, (queries, blockTokens) */
  readonly block: Float64Array;
}

function scratch(queries: number, headSize: number): Scratch {
  const [elements, pairs] = [queries * headSize, queries * blockTokens];
  const math = openBlockMath(rowRoomBytes(headSize) + 8 * (2 * elements + pairs));
  const room = rowRoom(math, headSize);
  const [q, sums, block] = [math.array(elements), math.array(elements), math.array(pairs)];
  return { room, q, sums, block };
}

/** All query heads of one KV head. q, output (queries, headSize); lse (queries). */
function attendHead(
  head: HeadCache,
  scale: number,
  q: Float64Array,
  output: Float64Array,
  lse: Float64Array,
  { room, q: ownQ, sums: ownSums, block }: Scratch,
): void {
  const { tokens, headSize } = head;
  const queries = lse.length;
  const scores = new Float64Array(queries * tokens);
  ownQ.set(q);
  for (let first = 0; first < tokens; first += blockTokens) {
    const count = Math.min(blockTokens, tokens - first);
    blockKeys(head, first, count, room);
    room.math.dot(room.rows, count, headSize, ownQ, block, blockTokens);
    for (let h = 0; h < queries; h++) {
      const own = block.subarray(h * blockTokens, h * blockTokens + count);
      scores.set(own, h * tokens + first);
    }
  }
  const sums: number[] = [];
  for (let h = 0; h < queries; h++) {
    const row = scores.subarray(h * tokens, (h + 1) * tokens);
    for (let j = 0; j < tokens; j++) row[j] *= scale * log2e;
    const { max, sum } = softmaxWeights(row);
    sums.push(sum);
    lse[h] = ln2 * (max + log2(sum)); // -Inf without tokens
  }
  ownSums.fill(0);
  for (let first = 0; first < tokens; first += blockTokens) {
    const count = Math.min(blockTokens, tokens - first);
    blockValues(head, first, count, room);
    for (let h = 0; h < queries; h++) {
      const from = h * tokens + first;
      block.set(scores.subarray(from, from + count), h * blockTokens);
    }
    room.math.addWeighted(room.rows, count, headSize, block, blockTokens, ownSums);
  }
  if (tokens === 0) return;
  for (let i = 0; i < output.length; i++) output[i] = ownSums[i] / sums[Math.floor(i / headSize)];
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
  const room = scratch(queries, headSize);
  for (let i = 0; i < requests * kvHeads; i++) {
    // (requests, queryHeads) = (requests, kvHeads, queries): the queries of head i are consecutive.
    const elements = [i * queries * headSize, (i + 1) * queries * headSize] as const;
    attendHead(
      flat.heads[i],
      Math.fround(softmaxScale),
      qValues.subarray(...elements),
      output.subarray(...elements),
      lse.subarray(i * queries, (i + 1) * queries),
      room,
    );
  }
  return { output, lse };
}
