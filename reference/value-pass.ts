/**
 * Second pass of the bound: sums over the values of one KV head, for all its queries.
 *
 * With a_j the exact and a~_j the shadow's weights (each of sum 1), b_j = a~_j theta_j the drift, v
 * the exact and v~ the shadow's values (row-weights.ts, shadow-rows.ts), for each query and channel
 * d:
 *   output      sum a_j v_jd
 *   shadow      sum a~_j v~_jd over packed tokens, and over the tail
 *   deviation   sum b_j |v~_jd - mean_d|, mean_d over the block of j; with centres and driftOf of
 *               each block this bounds sum b_j |v~_jd - x_d| for any x, by the triangle inequality
 *   magnitude   sum max(a~_j, 2^-14 a~max) |v~_jd|, |v~| at least the smallest normal number of its
 *               type: of products that reach the tensor core as values of that type. u16 times
 *               this also pays fp16 weights that are subnormal.
 * and for each query and channel group, over packed tokens (s, z: scale and zero of token and
 * group):
 *   zero        sum a~_j z_j        zeroMagnitude  sum a~_j |z_j|
 *   scaled      sum a~_j s_j        scaledMax      max a~_j s_j          scaleMax  max s_j
 * shadow - zero over packed tokens is sum a~_j s_j c_jd >= 0, which the bound needs and gets for
 * free.
 */
import { f16NormalMin, type KnownArithmetic, normalMin } from './arithmetic.js';
import { addWeightedRows } from './attention.js';
import { type HeadCache, valueRows } from './cache.js';
import { f16Values } from './format.js';
import { channelGroup } from './scheme.js';
import { alignedMagnitudes, roundedValues, type Scratch } from './shadow-rows.js';

export interface ValueSums {
  /** (queries, headSize) each */
  readonly output: Float64Array;
  readonly shadowPacked: Float64Array;
  readonly shadowTail: Float64Array;
  readonly deviation: Float64Array;
  readonly magnitude: Float64Array;
  /** (blocks, headSize) */
  readonly centres: Float64Array;
  /** (queries, blocks) */
  readonly driftOf: Float64Array;
  /** (queries, groups) each */
  readonly zero: Float64Array;
  readonly zeroMagnitude: Float64Array;
  readonly scaled: Float64Array;
  readonly scaledMax: Float64Array;
  /** (groups) */
  readonly scaleMax: Float64Array;
  /** largest magnitude of any value, at least the smallest normal number */
  readonly valueMax: number;
}

/** Weights of one KV head, each (queries, tokens); weightMax (queries). */
export interface HeadWeights {
  readonly exact: Float64Array;
  readonly shadow: Float64Array;
  readonly drift: Float64Array;
  readonly weightMax: readonly number[];
}

const blockTokens = 128;

/** Means of the columns of rows (count, size); returns the largest magnitude of any element. */
function columnMeans(rows: Float64Array, means: Float64Array): number {
  const size = means.length;
  const count = rows.length / size;
  let largest = 0;
  means.fill(0);
  for (let i = 0; i < rows.length; i += size) {
    for (let d = 0; d < size; d++) {
      const x = rows[i + d];
      const magnitude = Math.abs(x);
      if (magnitude > largest) largest = magnitude;
      means[d] += x;
    }
  }
  for (let d = 0; d < size; d++) means[d] /= count;
  return largest;
}

/** sums[d] += sum_t weights[t] rows[t][d] for two sets of weights and sums at once. */
function addTwiceWeightedRows(
  rows: Float64Array,
  weightsA: Float64Array,
  sumsA: Float64Array,
  weightsB: Float64Array,
  sumsB: Float64Array,
): void {
  const count = weightsA.length;
  const size = sumsA.length;
  const whole = count - (count % 4);
  for (let t = 0; t < whole; t += 4) {
    const [a0, a1, a2, a3] = [weightsA[t], weightsA[t + 1], weightsA[t + 2], weightsA[t + 3]];
    const [b0, b1, b2, b3] = [weightsB[t], weightsB[t + 1], weightsB[t + 2], weightsB[t + 3]];
    const r0 = t * size;
    const r1 = r0 + size;
    const r2 = r1 + size;
    const r3 = r2 + size;
    for (let d = 0; d < size; d++) {
      const v0 = rows[r0 + d];
      const v1 = rows[r1 + d];
      const v2 = rows[r2 + d];
      const v3 = rows[r3 + d];
      sumsA[d] += a0 * v0 + a1 * v1 + (a2 * v2 + a3 * v3);
      sumsB[d] += b0 * v0 + b1 * v1 + (b2 * v2 + b3 * v3);
    }
  }
  const rest = rows.subarray(whole * size);
  addWeightedRows(rest, weightsA.subarray(whole), sumsA, count - whole, size);
  addWeightedRows(rest, weightsB.subarray(whole), sumsB, count - whole, size);
}

/** sums[d] += sum_t weights[t] |rows[t][d] - centre[d]|; returns the sum of weights. */
function addDeviations(
  rows: Float64Array,
  centre: Float64Array,
  weights: Float64Array,
  sums: Float64Array,
): number {
  const size = centre.length;
  const { abs } = Math;
  let total = 0;
  let t = 0;
  for (; t + 4 <= weights.length; t += 4) {
    const w0 = weights[t];
    const w1 = weights[t + 1];
    const w2 = weights[t + 2];
    const w3 = weights[t + 3];
    const r0 = t * size;
    const r1 = r0 + size;
    const r2 = r1 + size;
    const r3 = r2 + size;
    total += w0 + w1 + (w2 + w3);
    for (let d = 0; d < size; d++) {
      const c = centre[d];
      sums[d] +=
        w0 * abs(rows[r0 + d] - c) +
        w1 * abs(rows[r1 + d] - c) +
        (w2 * abs(rows[r2 + d] - c) + w3 * abs(rows[r3 + d] - c));
    }
  }
  for (; t < weights.length; t++) {
    total += weights[t];
    for (let d = 0; d < size; d++) {
      sums[d] += weights[t] * abs(rows[t * size + d] - centre[d]);
    }
  }
  return total;
}

/** Sums over the parameters of packed tokens first .. first + weights.length - 1 of one query. */
function addParameters(
  head: HeadCache,
  first: number,
  weights: Float64Array,
  sums: ValueSums,
  query: number,
): void {
  const groups = head.headSize / channelGroup(head.scheme, head.headSize);
  for (let t = 0; t < weights.length; t++) {
    for (let g = 0; g < groups; g++) {
      const scale = f16Values[head.v.scales[(first + t) * groups + g]];
      const zero = f16Values[head.v.zeros[(first + t) * groups + g]];
      const at = query * groups + g;
      sums.zero[at] += weights[t] * zero;
      sums.zeroMagnitude[at] += weights[t] * Math.abs(zero);
      sums.scaled[at] += weights[t] * scale;
      sums.scaledMax[at] = Math.max(sums.scaledMax[at], weights[t] * scale);
      sums.scaleMax[g] = Math.max(sums.scaleMax[g], scale);
    }
  }
}

function emptySums(
  head: HeadCache,
  queries: number,
): { -readonly [K in keyof ValueSums]: ValueSums[K] } {
  const blocks = Math.ceil(head.tokens / blockTokens);
  const groups = head.headSize / channelGroup(head.scheme, head.headSize);
  const zeros = (length: number) => new Float64Array(length);
  return {
    output: zeros(queries * head.headSize),
    shadowPacked: zeros(queries * head.headSize),
    shadowTail: zeros(queries * head.headSize),
    deviation: zeros(queries * head.headSize),
    magnitude: zeros(queries * head.headSize),
    centres: zeros(blocks * head.headSize),
    driftOf: zeros(queries * blocks),
    zero: zeros(queries * groups),
    zeroMagnitude: zeros(queries * groups),
    scaled: zeros(queries * groups),
    scaledMax: zeros(queries * groups),
    scaleMax: zeros(groups),
    valueMax: 0,
  };
}

export function sumValues(
  a: KnownArithmetic,
  head: HeadCache,
  w: HeadWeights,
  scratch: Scratch,
): ValueSums {
  const { headSize, tokens, packed } = head;
  const smallest = normalMin(head.type);
  const queries = w.weightMax.length;
  const sums = emptySums(head, queries);
  const blocks = Math.ceil(tokens / blockTokens);
  const raised = new Float64Array(blockTokens);
  for (let first = 0; first < tokens; first += blockTokens) {
    const count = Math.min(blockTokens, tokens - first);
    const tail = first >= packed;
    const rows = valueRows(head, first, count, scratch.rows).subarray(0, count * headSize);
    const rounds = a.operands !== 'folded' && !tail;
    const shadowRows = rounds ? scratch.shadowRows : rows;
    const own = shadowRows.subarray(0, rows.length);
    if (rounds) roundedValues(a.operands, head, first, own);
    if (tail || rounds) alignedMagnitudes(own, scratch.magnitudes, smallest);
    const block = first / blockTokens;
    const centre = sums.centres.subarray(block * headSize, (block + 1) * headSize);
    const largest = columnMeans(own, centre);
    sums.valueMax = Math.max(sums.valueMax, largest, smallest);
    for (let h = 0; h < queries; h++) {
      const [from, to] = [h * tokens + first, h * tokens + first + count];
      const row = (x: Float64Array) => x.subarray(h * headSize, (h + 1) * headSize);
      const weights = w.shadow.subarray(from, to);
      const exact = w.exact.subarray(from, to);
      const shadow = row(tail ? sums.shadowTail : sums.shadowPacked);
      if (rounds) {
        addWeightedRows(rows, exact, row(sums.output), count, headSize);
        addWeightedRows(shadowRows, weights, shadow, count, headSize);
      } else {
        addTwiceWeightedRows(rows, exact, row(sums.output), weights, shadow);
      }
      const drift = w.drift.subarray(from, to);
      sums.driftOf[h * blocks + block] = addDeviations(
        shadowRows,
        centre,
        drift,
        row(sums.deviation),
      );
      if (tail || rounds) {
        const floor = f16NormalMin * w.weightMax[h];
        for (let t = 0; t < count; t++) raised[t] = Math.max(weights[t], floor);
        addWeightedRows(scratch.magnitudes, raised, row(sums.magnitude), count, headSize);
      }
      if (!tail && !rounds) addParameters(head, first, weights, sums, h);
    }
  }
  return sums;
}
