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
import { blockTokens, blockValues, type RowRoom } from './block-rows.js';
import { readBlock, type Scratch } from './bound-scratch.js';
import type { HeadCache } from './cache.js';
import { channelGroup } from './scheme.js';
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

/** Means of the columns of rows (count, size); returns the largest magnitude of any element. */
function columnMeans(
  { math, centre, largest }: Scratch,
  rows: Float64Array,
  count: number,
): number {
  math.columnSums(rows, count, centre, largest);
  let all = 0;
  for (let d = 0; d < centre.length; d++) {
    centre[d] /= count;
    if (largest[d] > all) all = largest[d];
  }
  return all;
}

/**
 * Sums over the parameters of a block of packed tokens, which blockValues left in room, for all
 * queries: weights (queries, blockTokens).
 */
function addParameters(room: RowRoom, count: number, weights: Float64Array, sums: ValueSums): void {
  const groups = sums.scaleMax.length;
  const { scales, zeros } = room;
  for (let at = 0; at < sums.zero.length; at++) {
    const g = at % groups;
    const first = ((at - g) / groups) * blockTokens;
    let zero = sums.zero[at];
    let zeroMagnitude = sums.zeroMagnitude[at];
    let scaled = sums.scaled[at];
    let scaledMax = sums.scaledMax[at];
    for (let t = 0; t < count; t++) {
      const weight = weights[first + t];
      const product = weight * scales[t * groups + g];
      zero += weight * zeros[t * groups + g];
      zeroMagnitude += weight * Math.abs(zeros[t * groups + g]);
      scaled += product;
      scaledMax = Math.max(scaledMax, product);
    }
    sums.zero[at] = zero;
    sums.zeroMagnitude[at] = zeroMagnitude;
    sums.scaled[at] = scaled;
    sums.scaledMax[at] = scaledMax;
  }
  for (let i = 0; i < count * groups; i++) {
    sums.scaleMax[i % groups] = Math.max(sums.scaleMax[i % groups], scales[i]);
  }
}

/** Sums of one KV head: of channels in scratch, which is cleared. */
function emptySums(
  head: HeadCache,
  queries: number,
  { output, shadowPacked, shadowTail, deviation, magnitude }: Scratch,
): { -readonly [K in keyof ValueSums]: ValueSums[K] } {
  const blocks = Math.ceil(head.tokens / blockTokens);
  const groups = head.headSize / channelGroup(head.scheme, head.headSize);
  const zeros = (length: number) => new Float64Array(length);
  const channels = { output, shadowPacked, shadowTail, deviation, magnitude };
  for (const sums of Object.values(channels)) sums.fill(0);
  return {
    ...channels,
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

/** ValueSums lie in scratch: they hold until the next head. */
export function sumValues(
  a: KnownArithmetic,
  head: HeadCache,
  w: HeadWeights,
  scratch: Scratch,
): ValueSums {
  const { headSize, tokens, packed } = head;
  const { math, exact, shadow, error: drift, deviations, magnitudes } = scratch;
  const smallest = normalMin(head.type);
  const queries = w.weightMax.length;
  const sums = emptySums(head, queries, scratch);
  const blocks = Math.ceil(tokens / blockTokens);
  for (let first = 0; first < tokens; first += blockTokens) {
    const count = Math.min(blockTokens, tokens - first);
    const isTail = first >= packed;
    blockValues(head, first, count, scratch.room);
    const { rows } = scratch.room;
    const rounds = a.operands !== 'folded' && !isTail;
    const shadowRows = rounds ? scratch.shadowRows : rows;
    const own = shadowRows.subarray(0, count * headSize);
    if (rounds) roundedValues(a.operands, head, first, own);
    const block = first / blockTokens;
    sums.valueMax = Math.max(sums.valueMax, columnMeans(scratch, shadowRows, count), smallest);
    sums.centres.set(scratch.centre, block * headSize);
    math.deviations(shadowRows, count, scratch.centre, deviations);
    readBlock(w.exact, tokens, first, count, exact);
    readBlock(w.shadow, tokens, first, count, shadow);
    readBlock(w.drift, tokens, first, count, drift);
    const add = (of: Float64Array, weights: Float64Array, to: Float64Array) =>
      math.addWeighted(of, count, headSize, weights, blockTokens, to);
    add(rows, exact, sums.output);
    add(shadowRows, shadow, isTail ? sums.shadowTail : sums.shadowPacked);
    add(deviations, drift, sums.deviation);
    for (let h = 0; h < queries; h++) {
      const at = h * blockTokens;
      let total = 0;
      for (let t = at; t < at + count; t++) total += drift[t];
      sums.driftOf[h * blocks + block] = total;
    }
    if (!isTail && !rounds) addParameters(scratch.room, count, shadow, sums);
    if (isTail || rounds) {
      alignedMagnitudes(own, magnitudes, smallest);
      for (let i = 0; i < shadow.length; i++) {
        const floor = f16NormalMin * w.weightMax[Math.floor(i / blockTokens)];
        shadow[i] = Math.max(shadow[i], floor);
      }
      add(magnitudes, shadow, sums.magnitude);
    }
  }
  return sums;
}
