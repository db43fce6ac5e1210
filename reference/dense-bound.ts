/**
 * Float64 attention over K and V that are given as numbers, and a proven bound for a kernel that
 * rounds them as it declares: for kernels whose cache has a layout of its own (heads with `dense`
 * rows, cache.ts), of which nothing is known but the precision of each stage.
 *
 * The contract of a Precision, with u(f32) = 2^-24, u(f16) = 2^-11, u(bf16) = 2^-8:
 *   q, k, v are used as they are (f32) or rounded once to `operands`, which changes nothing where
 *     they are values of that type; with `scaledOperands` q and k are scaled and rounded before;
 *   a score is a sum of headSize products in f32, in any order, each product or sum with at most
 *     2 u(f32) of what it adds up (a tensor core truncates), times the scale, and rounded at most
 *     twice to `scores`;
 *   weights are exp of a difference to some maximum, of relative error ex2Error (arithmetic.ts),
 *     rescaled at most tokens / rescaleTokens + 3 times, and rounded once to `weights`;
 *   output and sum of weights are sums over the tokens in f32 in any order; one division.
 * Not part of it: overflow. Scores beyond fp16 in a kernel that keeps them in fp16 are an error.
 *
 * With theta_j the relative error of weight j, b_j the exact weights and Theta = sum b_j theta_j:
 *   drift     weights: sum b_j theta_j |v_j - o| / (1 - Theta)
 *   products  rounding of weights and values and the sum over tokens, relative to sum b_j |v_j|
 *   sum       of weights and the division, relative to the output
 * A row is guarded (bounds NaN, only classes are compared) when an operand is not finite, or
 * overflows `operands`, or Theta reaches guardLimit.
 */
import { ex2Error, guardLimit, normalMin, roundingUnit, u, u16 } from './arithmetic.js';
import type { BoundResult } from './bound.js';
import { allRows, type HeadCache, keyRows, valueRows } from './cache.js';
import { numberTypes } from './number-type.js';
import { elementType, type Problem, queriesPerKvHead } from './problem.js';

export type Rounding = 'f32' | 'f16' | 'bf16';

export interface Precision {
  readonly operands: Rounding;
  /** the softmax scale, or its root, is multiplied into q and k before their product */
  readonly scaledOperands?: boolean;
  readonly scores: Rounding;
  readonly weights: Rounding;
  /** at least so many tokens lie between two rescales of a sum */
  readonly rescaleTokens: number;
}

/** Nothing declared: a tensor-core kernel in fp16 that rescales for every 16 tokens. */
export const usualPrecision: Precision = {
  operands: 'f16',
  scores: 'f32',
  weights: 'f16',
  rescaleTokens: 16,
};

/** Half an ulp of 1. */
const unit: Readonly<Record<Rounding, number>> = { f32: u, f16: u16, bf16: 2 ** -8 };
/** Half of the smallest subnormal, where it is not negligible beside `flushed`. */
const quantum: Readonly<Record<Rounding, number>> = { f32: 0, f16: 2 ** -25, bf16: 0 };
/** Weights below the smallest f32, and exp2 of this reference. */
const flushed = 2 ** -64;

/** Relative error of an operand; none where its values are of the type that they are rounded to. */
function operandError(p: Precision, x: Float64Array): number {
  const { round } = numberTypes[p.operands];
  return p.operands === 'f32' || x.every((value) => round(value) === value) ? 0 : unit[p.operands];
}

interface Operands {
  readonly q: Float64Array;
  readonly k: Float64Array;
  readonly v: Float64Array;
  /** relative errors of k and of v */
  readonly kError: number;
  readonly vError: number;
}

interface Row {
  readonly output: Float64Array;
  readonly radius: Float64Array;
  readonly lse: number;
  readonly lseBound: number;
  readonly valid: boolean;
}

/** What a row of scores is off by, and the exact weights. */
interface Weights {
  readonly share: Float64Array; // b_j
  readonly drift: Float64Array; // theta_j
  readonly total: number; // Theta
  readonly lse: number;
}

function weightsOf(scores: Float64Array, errors: Float64Array, shared: number): Weights {
  const tokens = scores.length;
  const max = scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const share = scores.map((s) => Math.exp(s - max));
  const sum = share.reduce((a, b) => a + b, 0);
  const drift = new Float64Array(tokens);
  let total = 0;
  for (let j = 0; j < tokens; j++) {
    share[j] /= sum;
    drift[j] = Math.expm1(errors[j] + 8 * u * (Math.abs(scores[j]) + Math.abs(max)) + shared);
    total += share[j] * drift[j];
  }
  return { share, drift, total, lse: max + Math.log(sum) };
}

/** Scores and their errors, before the exponential. */
function scoresOf(
  p: Precision,
  scale: number,
  { q, k, kError }: Operands,
): { scores: Float64Array; errors: Float64Array } {
  const size = q.length;
  const tokens = k.length / size;
  const scaling = p.scaledOperands ? unit[p.operands] : 0;
  const rounded = (1 + operandError(p, q)) * (1 + kError) * (1 + scaling) ** 4;
  const relative = rounded * (1 + (2 * size + 4) * u) - 1;
  const scores = new Float64Array(tokens);
  const errors = new Float64Array(tokens);
  for (let j = 0; j < tokens; j++) {
    let sum = 0;
    let magnitude = 0;
    let linear = 0;
    for (let i = 0; i < size; i++) {
      const product = q[i] * k[j * size + i];
      sum += product;
      magnitude += Math.abs(product);
      linear += Math.abs(q[i]) + Math.abs(k[j * size + i]);
    }
    scores[j] = scale * sum;
    errors[j] =
      Math.abs(scale) * (relative * magnitude + quantum[p.operands] * linear) +
      2 * unit[p.scores] * Math.abs(scores[j]) +
      2 * quantum[p.scores] * (1 + Math.abs(scale));
  }
  return { scores, errors };
}

function boundRow(p: Precision, scale: number, operands: Operands): Row {
  const { q, k, v, vError } = operands;
  const size = q.length;
  const tokens = k.length / size;
  const rescales = Math.ceil(tokens / p.rescaleTokens) + 3;
  const { scores, errors } = scoresOf(p, scale, operands);
  const w = weightsOf(scores, errors, (rescales + 2) * (ex2Error + 4 * u));
  const keep = 1 - w.total;
  const summed = (2 * tokens + 2 * rescales + 8) * u;
  const relative = (1 + unit[p.weights]) * (1 + vError) * (1 + summed) - 1;
  const output = new Float64Array(size);
  const radius = new Float64Array(size);
  for (let j = 0; j < tokens; j++) {
    for (let d = 0; d < size; d++) output[d] += w.share[j] * v[j * size + d];
  }
  for (let d = 0; d < size; d++) {
    let drift = 0;
    let magnitude = 0;
    let linear = 0;
    let valueMax = 0;
    for (let j = 0; j < tokens; j++) {
      const value = v[j * size + d];
      drift += w.share[j] * w.drift[j] * Math.abs(value - output[d]);
      magnitude += w.share[j] * (1 + w.drift[j]) * Math.abs(value);
      linear += Math.abs(value);
      valueMax = Math.max(valueMax, Math.abs(value));
    }
    drift /= keep;
    const products =
      (relative * magnitude) / keep + quantum[p.weights] * linear + 2 * quantum[p.operands];
    const sum = (summed + 4 * u) * (Math.abs(output[d]) + drift);
    const ownError = (tokens + 256) * 2 ** -52 * valueMax;
    radius[d] = drift + (products + sum) / (1 - summed) + ownError + flushed * (1 + valueMax);
  }
  const lseBound = w.total / keep + summed / (1 - summed) + 8 * u * (1 + Math.abs(w.lse)) + flushed;
  // Then scores, and with them everything, are finite: operands are.
  const valid = w.total < guardLimit && summed < guardLimit;
  return { output, radius, lse: w.lse, lseBound, valid };
}

function fits(p: Precision, ...operands: Float64Array[]): boolean {
  const round = numberTypes[p.operands].round;
  return operands.every((x) => x.every((value) => Number.isFinite(round(value))));
}

/**
 * Float64 attention over the heads, (requests, kvHeads), with the bound of a kernel of this
 * precision. q: values, (requests, queryHeads, headSize).
 */
export function boundDense(
  problem: Problem,
  softmaxScale: number,
  q: Float64Array,
  heads: readonly HeadCache[],
  precision: Precision,
): BoundResult {
  const { queryHeads, headSize } = problem;
  const rows = problem.tokens.length * queryHeads;
  const elements = () => new Float64Array(rows * headSize);
  const type = elementType(problem);
  const result = {
    type,
    ...{ output: elements(), outputBound: elements(), outputRadius: elements() },
    ...{ lse: new Float64Array(rows), lseBound: new Float64Array(rows) },
    ...{ valueMax: new Float64Array(rows), guarded: new Uint8Array(rows) },
    alternative: elements().fill(Number.NaN),
  };
  const scale = Math.fround(softmaxScale);
  const queries = queriesPerKvHead(problem);
  for (const [index, head] of heads.entries()) {
    const [k, v] = [allRows(head, keyRows), allRows(head, valueRows)];
    const finite = fits(precision, k, v);
    const valueMax = v.reduce((max, x) => Math.max(max, Math.abs(x)), 0);
    const errors = { kError: operandError(precision, k), vError: operandError(precision, v) };
    for (let row = index * queries; row < (index + 1) * queries; row++) {
      if (head.tokens === 0) {
        result.lse[row] = Number.NEGATIVE_INFINITY;
        continue;
      }
      const from = row * headSize;
      const own = q.subarray(from, from + headSize);
      const found = boundRow(precision, scale, { q: own, k, v, ...errors });
      const valid = finite && fits(precision, own) && found.valid;
      result.output.set(found.output, from);
      result.lse[row] = found.lse;
      result.valueMax[row] = valueMax;
      result.guarded[row] = valid ? 0 : 1;
      result.lseBound[row] = valid ? found.lseBound : Number.NaN;
      for (let d = 0; d < headSize; d++) {
        const radius = valid ? found.radius[d] : Number.NaN;
        result.outputRadius[from + d] = radius;
        const stored = Math.max(Math.abs(found.output[d]) + radius, normalMin(type));
        result.outputBound[from + d] = radius + roundingUnit(type) * stored;
      }
    }
  }
  return result;
}
