/**
 * Scores of a query row to weights: exact, shadow, and how far a kernel's weights can drift.
 *
 * Scores are base-2 exponents t_j. The shadow is the same attention with the roundings that are
 * known (the shift of score-bound.ts, fp16 keys); a kernel is compared with the shadow, and the
 * shadow with the exact result. A kernel's weight of token j is a_j (1 + tau_j) times a factor that
 * all tokens of the row share and that cancels, and |tau_j| <= theta_j = e^(E_j) - 1 with
 *   E_j = ln 2 (e_j + 4 u |x_j|) + (1 + R) ex2Error + ln 2 common
 *   e_j      error of the score, in exponents (passed in)
 *   x_j      t_j - max t: the difference to the running maximum and the arguments of the rescales
 *            that follow are rounded once each; their sizes add up to |x_j| (they telescope)
 *   1 + R    one exponential of the weight, R of rescales and merges
 *   common   only for kernels whose schedule is unknown: RN(max * scale) in a difference, and
 *            merges that go through log-sum-exps
 * If one token has at least half of the weight, drifts are taken relative to its own: dividing all
 * weights by 1 + tau_0 gives token 0 a drift of 0 and the others at most e^(E_j + E_0) - 1.
 *
 * Weights below 2^-126 are flushed by ex2; tokens below 2^-100 only count in `tail`.
 */
import { type Arithmetic, ex2Error, log2Error, type RowConstants, u } from './arithmetic.js';
import { exp2, ln2, log2, log2e } from './exp.js';

export interface RowWeights {
  /** log2 of the sum of 2^t, exact and of the shadow */
  readonly logSum: number;
  readonly shadowLogSum: number;
  /** Theta = sum of a_j theta_j over the shadow's weights, and its part from tokens in the tail */
  readonly drift: number;
  readonly tail: number;
  /** largest theta_j outside the tail */
  readonly driftMax: number;
  /** E_0 if drifts are relative to the heaviest token, else 0: natural log of a common factor */
  readonly anchor: number;
  /** largest weight of the shadow: 1 / sum of 2^x */
  readonly weightMax: number;
  /** how far a score may be off: the largest known difference and the largest E_j, without the part
   * that all tokens share */
  readonly errorMax: number;
}

/** Products of two roundings: x of the kernel is off by e itself, ln(1 + eps) by eps^2. */
const secondOrder = 1 + 2 ** -20;

/** e^x - 1 or a little more, for x >= 0. e^x - 1 <= x + x^2 up to x = 1. */
function growth(x: number): number {
  return x <= 1 ? x + x * x : exp2(x * log2e) * (1 + 2 ** -40) - 1;
}

/** Part of E that all tokens share, natural log. scoreMax: largest |t|. */
function commonError(
  a: Arithmetic,
  rescales: number,
  scoreMax: number,
  logSum: number,
  tokens: number,
): number {
  const exponentials = (1 + rescales) * ex2Error;
  if (a.operands === 'folded') return exponentials;
  // A merge weight 2^(LSE_i - LSE): its two arguments and their difference are rounded, a change of
  // base rounds once more; |LSE_i| is at most scoreMax + log2(tokens).
  const lse = Math.max(scoreMax + log2(tokens), Math.abs(logSum));
  return exponentials + ln2 * (2 * u * scoreMax + 4 * u * lse + log2Error(log2(tokens)));
}

/** values -> 2^(value - max) / sum, in place; (tokens). */
function normalize(values: Float64Array): { max: number; sum: number } {
  let max = Number.NEGATIVE_INFINITY;
  for (let j = 0; j < values.length; j++) max = Math.max(max, values[j]);
  let sum = 0;
  for (let j = 0; j < values.length; j++) {
    values[j] = exp2(values[j] - max);
    sum += values[j];
  }
  for (let j = 0; j < values.length; j++) values[j] /= sum;
  return { max, sum };
}

/**
 * In place: scores -> exact weights a_j, shadows -> shadow weights, errors (e_j) -> a_j theta_j of
 * the shadow. All (tokens), tokens > 0; scores and shadows are base-2 exponents.
 */
export function weighRow(
  a: Arithmetic,
  constants: RowConstants,
  scores: Float64Array,
  shadows: Float64Array,
  errors: Float64Array,
): RowWeights {
  const tokens = scores.length;
  let scoreMax = 0;
  let shadowMax = Number.NEGATIVE_INFINITY;
  let heaviest = 0;
  for (let j = 0; j < tokens; j++) {
    scoreMax = Math.max(scoreMax, Math.abs(shadows[j]));
    if (shadows[j] > shadowMax) {
      shadowMax = shadows[j];
      heaviest = j;
    }
  }
  // E_j needs x_j, which normalize overwrites. Beyond 128 a weight is flushed anyway.
  let errorMax = 0;
  let knownMax = 0; // infinite scores have none
  for (let j = 0; j < tokens; j++) {
    const known = Math.abs(scores[j] - shadows[j]);
    if (known > knownMax) knownMax = known;
    const difference = Math.min(shadowMax - shadows[j], 128);
    errors[j] = secondOrder * ln2 * (errors[j] + 4 * u * difference);
    errorMax = Math.max(errorMax, errors[j]);
  }
  errorMax += ln2 * knownMax;
  const exact = normalize(scores);
  const shadow = normalize(shadows);
  const shadowLogSum = shadow.max + log2(shadow.sum);
  const common = commonError(a, constants.rescales, scoreMax, shadowLogSum, tokens);
  const anchored = shadows[heaviest] >= 0.5;
  const anchor = anchored ? errors[heaviest] + common : 0;
  const tailBelow = 2 ** -100 / shadow.sum;
  let drift = 0;
  let tail = 0;
  let driftMax = 0;
  for (let j = 0; j < tokens; j++) {
    const theta = anchored && j === heaviest ? 0 : growth(errors[j] + common + anchor);
    errors[j] = shadows[j] * theta;
    drift += errors[j];
    if (shadows[j] < tailBelow) tail += errors[j];
    else driftMax = Math.max(driftMax, theta);
  }
  return {
    ...{ shadowLogSum, drift, tail, driftMax, anchor, errorMax },
    logSum: exact.max + log2(exact.sum),
    weightMax: 1 / shadow.sum,
  };
}
