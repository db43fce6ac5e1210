// attention-error.ts - how far attention over a changed cache is from attention over the true one,
// in float64, for one KV head and several queries.
//
//   output   relative Frobenius error, mean cosine of the queries, largest error, SQNR in dB
//   weights  KL(p | p') in nats, total variation, share of queries with the same heaviest token
//
// The error is split: weights of the changed keys over the true values ('k'), true weights over the
// changed values ('v'), and both. An error of 0 has no SQNR (null); where the truth itself is not
// finite, every number is null.

import { exp2, log2e } from '../../reference/exp.js';

export interface HeadSample {
  readonly tokens: number;
  readonly headSize: number;
  readonly queries: number;
  readonly softmaxScale: number;
  readonly q: Float32Array; // (queries, headSize)
  readonly k: Float32Array; // (tokens, headSize)
  readonly v: Float32Array; // (tokens, headSize)
}

export type Part = 'k' | 'v' | 'both' | 'kernel' | 'total';

export interface OutputError {
  readonly relFro: number | null;
  readonly cosine: number | null;
  readonly maxError: number | null;
  readonly sqnrDb: number | null;
}

export interface WeightError {
  readonly kl: number | null;
  readonly tv: number | null;
  readonly top1: number | null;
}

export type AttentionError = OutputError & WeightError;

const NO_WEIGHTS: WeightError = { kl: null, tv: null, top1: null };

/** Softmax weights and their logarithms, (queries, tokens). */
interface Weights {
  readonly p: Float64Array;
  readonly logP: Float64Array;
}

export class TrueAttention {
  private readonly weights: Weights;
  /** (queries, headSize) */
  readonly output: Float64Array;

  constructor(readonly sample: HeadSample) {
    this.weights = weightsOf(sample, sample.k);
    this.output = weighted(sample, this.weights.p, sample.v);
  }

  /** Errors of each part over changed keys and values, (tokens, headSize). */
  compare(k: Float32Array, v: Float32Array): { part: Part; error: AttentionError }[] {
    const { sample } = this;
    const changed = weightsOf(sample, k);
    const ofWeights = weightError(this.weights, changed, sample.queries, sample.tokens);
    const error = (weights: Weights, values: Float32Array) =>
      outputError(weighted(sample, weights.p, values), this.output, sample.queries);
    return [
      { part: 'k', error: { ...error(changed, sample.v), ...ofWeights } },
      { part: 'v', error: { ...error(this.weights, v), ...NO_WEIGHTS } },
      { part: 'both', error: { ...error(changed, v), ...ofWeights } },
    ];
  }
}

/** Error of an output against the one that is right, both (queries, headSize). */
export function outputError(
  found: Float64Array,
  right: Float64Array,
  queries: number,
): OutputError {
  const size = right.length / queries;
  let [error, norm, largest, cosines] = [0, 0, 0, 0];
  for (let row = 0; row < queries; row++) {
    let [dot, a, b] = [0, 0, 0];
    for (let i = row * size; i < (row + 1) * size; i++) {
      const difference = found[i] - right[i];
      error += difference * difference;
      largest = Math.max(largest, Math.abs(difference));
      dot += found[i] * right[i];
      a += found[i] * found[i];
      b += right[i] * right[i];
    }
    norm += b;
    // Two zero rows agree; Math.sqrt apart keeps equal rows at exactly 1 up to one rounding.
    cosines += a === 0 && b === 0 ? 1 : dot / (Math.sqrt(a) * Math.sqrt(b));
  }
  return {
    relFro: finite(norm === 0 && error === 0 ? 0 : Math.sqrt(error / norm)),
    cosine: finite(cosines / queries),
    maxError: finite(largest),
    sqnrDb: finite(10 * Math.log10(norm / error)),
  };
}

/** JSON and tables have no NaN and no Infinity: null. */
function finite(x: number): number | null {
  return Number.isFinite(x) ? x : null;
}

function weightsOf(sample: HeadSample, k: Float32Array): Weights {
  const { queries, tokens, headSize, softmaxScale, q } = sample;
  const p = new Float64Array(queries * tokens);
  const logP = new Float64Array(queries * tokens);
  for (let t = 0; t < tokens; t++) {
    const at = t * headSize;
    for (let row = 0; row < queries; row++) {
      const from = row * headSize;
      let [s0, s1] = [0, 0];
      for (let i = 0; i < headSize; i += 2) {
        s0 += q[from + i] * k[at + i];
        s1 += q[from + i + 1] * k[at + i + 1];
      }
      logP[row * tokens + t] = softmaxScale * (s0 + s1);
    }
  }
  for (let row = 0; row < queries; row++) {
    const scores = logP.subarray(row * tokens, (row + 1) * tokens);
    let max = Number.NEGATIVE_INFINITY;
    for (const s of scores) if (s > max) max = s;
    let sum = 0;
    for (const s of scores) sum += exp2((s - max) * log2e);
    const shift = max + Math.log(sum);
    for (let t = 0; t < tokens; t++) {
      scores[t] -= shift;
      p[row * tokens + t] = exp2(scores[t] * log2e);
    }
  }
  return { p, logP };
}

/** sum_t p[row][t] v[t], (queries, headSize). */
function weighted(sample: HeadSample, p: Float64Array, v: Float32Array): Float64Array {
  const { queries, tokens, headSize } = sample;
  const out = new Float64Array(queries * headSize);
  for (let row = 0; row < queries; row++) {
    const sums = out.subarray(row * headSize, (row + 1) * headSize);
    for (let t = 0; t < tokens; t++) {
      const weight = p[row * tokens + t];
      const at = t * headSize;
      for (let i = 0; i < headSize; i++) sums[i] += weight * v[at + i];
    }
  }
  return out;
}

function weightError(right: Weights, found: Weights, queries: number, tokens: number): WeightError {
  let [kl, tv, same] = [0, 0, 0];
  for (let row = 0; row < queries; row++) {
    let [heaviest, other] = [row * tokens, row * tokens];
    for (let i = row * tokens; i < (row + 1) * tokens; i++) {
      const { p, logP } = right;
      // A weight of 0 contributes 0, whatever its logarithm.
      if (p[i] > 0) kl += p[i] * (logP[i] - found.logP[i]);
      tv += Math.abs(p[i] - found.p[i]) / 2;
      if (p[i] > p[heaviest]) heaviest = i;
      if (found.p[i] > found.p[other]) other = i;
    }
    if (heaviest === other) same += 1;
  }
  if (!Number.isFinite(tv)) return NO_WEIGHTS;
  // Rounding may leave -1e-17 for equal weights.
  return { kl: finite(Math.max(0, kl / queries)), tv: tv / queries, top1: same / queries };
}
