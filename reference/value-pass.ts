/**
 * Second pass of the bound: sums over the values of one KV head, for all its queries.
 *
 * With a_j the exact and a~_j the shadow's weights (each of sum 1), b_j = a~_j theta_j the drift, v the
 * exact and v~ the shadow's values (row-weights.ts, shadow-rows.ts), for each query and channel d:
 *   output      sum a_j v_jd
 *   shadow      sum a~_j v~_jd over packed tokens, and over the tail
 *   deviation   sum b_j |v~_jd - mean_d|, mean_d over the block of j; with centres and driftOf of
 *               each block this bounds sum b_j |v~_jd - x_d| for any x, by the triangle inequality
 *   magnitude   sum max(a~_j, 2^-14 a~max) |v~_jd|, |v~| at least 2^-14: of products that reach the
 *               tensor core as fp16 times fp16. u16 times this also pays fp16 weights that are subnormal.
 * and for each query and channel group, over packed tokens (s, z: scale and zero of token and group):
 *   zero        sum a~_j z_j        zeroMagnitude  sum a~_j |z_j|
 *   scaled      sum a~_j s_j        scaledMax      max a~_j s_j          scaleMax  max s_j
 * shadow - zero over packed tokens is sum a~_j s_j c_jd >= 0, which the bound needs and gets for free.
 */
import { type Arithmetic, f16NormalMin } from './arithmetic.js';
import { addWeightedRows } from './attention.js';
import { type HeadCache, valueRows } from './cache.js';
import { f16Values } from './format.js';
import { alignedMagnitudes, roundedValues } from './shadow-rows.js';

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
  /** largest magnitude of any value */
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

/** Means of the columns of rows (count, size). */
function columnMeans(rows: Float64Array, means: Float64Array): void {
  const size = means.length;
  const count = rows.length / size;
  means.fill(0);
  for (let i = 0; i < rows.length; i += size) {
    for (let d = 0; d < size; d++) means[d] += rows[i + d];
  }
  for (let d = 0; d < size; d++) means[d] /= count;
}

/** sums[d] += sum_t weights[t] |rows[t][d] - centre[d]|; returns the sum of weights. */
function addDeviations(
  rows: Float64Array,
  centre: Float64Array,
  weights: Float64Array,
  sums: Float64Array,
): number {
  const size = centre.length;
  let total = 0;
  let t = 0;
  for (; t + 2 <= weights.length; t += 2) {
    const w0 = weights[t];
    const w1 = weights[t + 1];
    const r0 = t * size;
    const r1 = r0 + size;
    total += w0 + w1;
    for (let d = 0; d < size; d++) {
      const c = centre[d];
      sums[d] += w0 * Math.abs(rows[r0 + d] - c) + w1 * Math.abs(rows[r1 + d] - c);
    }
  }
  for (; t < weights.length; t++) {
    total += weights[t];
    for (let d = 0; d < size; d++) {
      sums[d] += weights[t] * Math.abs(rows[t * size + d] - centre[d]);
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
  const groups = head.headSize / head.scheme.group;
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
  const groups = head.headSize / head.scheme.group;
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

export function sumValues(a: Arithmetic, head: HeadCache, w: HeadWeights): ValueSums {
  const { headSize, tokens, packed } = head;
  const queries = w.weightMax.length;
  const sums = emptySums(head, queries);
  const blocks = Math.ceil(tokens / blockTokens);
  const [exactRows, roundedRows, magnitudeRows] = [0, 1, 2].map(
    () => new Float64Array(blockTokens * headSize),
  );
  const raised = new Float64Array(blockTokens);
  for (let first = 0; first < tokens; first += blockTokens) {
    const count = Math.min(blockTokens, tokens - first);
    const tail = first >= packed;
    const rows = valueRows(head, first, count, exactRows).subarray(0, count * headSize);
    const rounds = a.operands === 'dequantized' && !tail;
    const shadowRows = rounds ? roundedRows : rows;
    if (rounds) roundedValues(head, first, rows, roundedRows);
    alignedMagnitudes(shadowRows, magnitudeRows);
    for (let i = 0; i < rows.length; i++) {
      if (magnitudeRows[i] > sums.valueMax) sums.valueMax = magnitudeRows[i];
    }
    const block = first / blockTokens;
    const centre = sums.centres.subarray(block * headSize, (block + 1) * headSize);
    columnMeans(shadowRows.subarray(0, rows.length), centre);
    for (let h = 0; h < queries; h++) {
      const [from, to] = [h * tokens + first, h * tokens + first + count];
      const row = (x: Float64Array) => x.subarray(h * headSize, (h + 1) * headSize);
      const weights = w.shadow.subarray(from, to);
      addWeightedRows(rows, w.exact.subarray(from, to), row(sums.output), count, headSize);
      const shadow = row(tail ? sums.shadowTail : sums.shadowPacked);
      addWeightedRows(shadowRows, weights, shadow, count, headSize);
      const drift = w.drift.subarray(from, to);
      sums.driftOf[h * blocks + block] = addDeviations(
        shadowRows,
        centre,
        drift,
        row(sums.deviation),
      );
      if (tail || a.operands !== 'folded') {
        const floor = f16NormalMin * w.weightMax[h];
        for (let t = 0; t < count; t++) raised[t] = Math.max(weights[t], floor);
        addWeightedRows(magnitudeRows, raised, row(sums.magnitude), count, headSize);
      }
      if (!tail) addParameters(head, first, weights, sums, h);
    }
  }
  return sums;
}
