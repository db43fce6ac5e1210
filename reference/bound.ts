/**
 * L1: a proven bound of |kernel - float64| for every element of output and lse, order-free: it
 * holds for every order of tokens, products, warps, splits and merges that the declared Arithmetic
 * allows. README.md, section "Bounds", is the derivation; the names below are its names.
 *
 * The kernel's output is sum_j w^_j v^_j / sum_j w^_j with rounded weights, values and sums.
 * Compared with the shadow o~ (softmax of shadow scores over shadow values; row-weights.ts):
 *   known       |o~ - o|, computed
 *   drift       weights: sum b_j |v~_j - o~| / (1 - Theta)
 *   rounding    P' to fp16, which the numerator sees and the denominator does not
 *   products    truncation in the tensor core over the tokens
 *   zeros       the f32 sum of p z (folded)
 *   merges      rescaling, changing units and merging partial outputs in f32
 *   sum         gamma_l of the sum of weights, 4 u of the division, relative to the output
 * radius is their sum, and outputBound adds the fp16 store. A sum over the kernel's weights w^ is
 * at most (sum (1 + theta_max) a~ y + tail y_max) / (1 - Theta) of the shadow's (`spread`).
 *
 * A row is guarded, and its bounds are NaN so that nothing passes by accident, when an operand is
 * not finite, when a scale is negative (no format has one), when a constant reaches guardLimit or
 * when the scale leaves the range where f32 holds its multiples. Without tokens output is exactly
 * 0, lse exactly -Inf and both bounds are 0.
 */
import {
  type Arithmetic,
  guardLimit,
  type KnownArithmetic,
  log2Error,
  normalMin,
  type Operands,
  type RowConstants,
  roundingUnit,
  rowConstants,
  u,
  u16,
} from './arithmetic.js';
import { boundScratch, type Scratch } from './bound-scratch.js';
import { type HeadCache, oneQueryToken } from './cache.js';
import { ln2, log2, log2e } from './exp.js';
import { type ElementType, elementRound, f64Array } from './format.js';
import { headIsFinite, reach } from './guards.js';
import { infiniteAlternatives, scoresUnknown } from './infinite-alternatives.js';
import { elementType, type Problem, queriesPerKvHead } from './problem.js';
import { type RowWeights, weighRow } from './row-weights.js';
import { channelGroup, isPlain } from './scheme.js';
import { type Scores, scoreHead, scoreRoom } from './score-pass.js';
import { sumValues, type ValueSums } from './value-pass.js';

export type { Arithmetic } from './arithmetic.js';
export { anyArithmetic } from './arithmetic.js';

export interface BoundResult {
  /** what outputs are stored as */
  readonly type: ElementType;
  /** float64 attention, (requests, queryTokens, queryHeads, headSize) */
  readonly output: Float64Array;
  /** (requests, queryTokens, queryHeads) */
  readonly lse: Float64Array;
  /** of |stored value - output|, as output */
  readonly outputBound: Float64Array;
  /** of the value before it is stored, as output */
  readonly outputRadius: Float64Array;
  /** as lse */
  readonly lseBound: Float64Array;
  /** as lse: largest magnitude of a value that the row sees, 0 without tokens */
  readonly valueMax: Float64Array;
  /**
   * (requests, queryTokens, queryHeads). 1: no bound is valid for this row, only the class of its
   * values is known.
   */
  readonly guarded: Uint8Array;
  /**
   * As output: the infinity that an element may be although float64 has NaN; else NaN. In a guarded
   * row whose scores are finite and known to no bit (infiniteAlternatives).
   */
  readonly alternative: Float64Array;
}

/** Views of one KV head's query rows in a BoundResult. */
type Rows = Omit<BoundResult, 'type'>;

/** Weights that ex2 flushes, f32 underflow and the clamp of 2^b: below 2^40 tokens 2^-126 65504. */
const flushed = 2 ** -64;

/**
 * Relative error of P' before the rounding's subnormals: that rounding and two f32 products. A
 * folding kernel keeps P to 2^-11 for bf16 values too.
 */
function weightErrorOf(a: KnownArithmetic, type: ElementType): number {
  return (a.operands === 'folded' ? u16 : roundingUnit(type)) + 2 * u;
}

/** One query row: everything that does not depend on the channel. */
interface Row {
  readonly weights: RowWeights;
  readonly constants: RowConstants;
  readonly index: number;
}

/** Bound of a sum over the kernel's weights, given the shadow's sum and the largest summand. */
function spread(w: RowWeights, tokens: number, sum: number, max: number): number {
  const tail = w.tail + tokens * 2 ** -100;
  return (sum * (1 + w.driftMax) + tail * max) / (1 - w.drift);
}

/**
 * Truncation of the tensor core over T fused sums, whose accumulators stay below `sum`. `scaled`
 * and `scaledMax`: sum and maximum over tokens of weights times scales; codes align 2^10 above
 * their value.
 */
function productError(
  a: Arithmetic,
  groups: number,
  sum: number,
  scaled: number,
  scaledMax: number,
): number {
  const oneQuantum = (a.fusedProducts + 1) * 2 ** -a.fraction;
  const byMax = groups * Math.max(sum, 1024 * scaledMax);
  // Each fused sum aligns by its own largest weight: together no more than all weights. A weight
  // that is subnormal in fp16 aligns as 2^-28 of the largest.
  const bySum = groups * sum + 1024 * (scaled + groups * 2 ** -28 * scaledMax);
  return oneQuantum * Math.min(byMax, bySum) + groups * 2 * u * sum;
}

/** Fused sums that one output takes part in. */
function fusedGroups(a: KnownArithmetic, head: HeadCache): number {
  const perStep = 16 / a.fusedProducts; // tokens are taken in whole steps of 16
  const [packed, tail] = [head.packed, head.tokens - head.packed].map((n) => Math.ceil(n / 16));
  // A folding kernel multiplies bf16 values with a P of two terms.
  const terms = head.type === 'bf16' && a.operands === 'folded' ? 2 : 1;
  return (packed + terms * tail) * perStep;
}

/** products / magnitude: what must stay below guardLimit. */
function productGamma(a: Arithmetic, groups: number): number {
  return groups * ((a.fusedProducts + 1) * 2 ** -a.fraction + 2 * u);
}

/**
 * Errors of the numerators of a row over its sum of weights, (headSize): README's rounding,
 * products, zeros, merges.
 */
function numeratorErrors(
  a: KnownArithmetic,
  head: HeadCache,
  sums: ValueSums,
  { weights, constants, index }: Row,
): Float64Array {
  const { packed, tokens, headSize } = head;
  const group = channelGroup(head.scheme, headSize);
  const weightError = weightErrorOf(a, head.type);
  const codeMax = 2 ** head.scheme.bits - 1;
  const over = (sum: number, max: number) => spread(weights, tokens, sum, max);
  const groups = fusedGroups(a, head);
  const secondOrder = 1 + 2 * productGamma(a, groups); // accumulators carry earlier errors
  return new Float64Array(headSize).map((_, d) => {
    const at = index * headSize + d;
    const magnitude = over(sums.magnitude[at], sums.valueMax);
    if (a.operands !== 'folded') {
      const products = productError(a, groups, magnitude, 0, 0);
      return ((weightError + constants.mergeError) * magnitude + products) * secondOrder;
    }
    const g = Math.floor(d / group);
    const atGroup = (index * headSize) / group + g;
    const zeroMagnitude = sums.zeroMagnitude[atGroup];
    // sum a~ s c; float64 cancellation may leave a little more or less than the true value
    const span = Math.max(0, sums.shadowPacked[at] - sums.zero[atGroup]) + 2 ** -40 * zeroMagnitude;
    const spanSum = over(span, codeMax * sums.scaleMax[g]);
    const scaledMax = over(sums.scaledMax[atGroup], sums.scaleMax[g]);
    const scaled = over(sums.scaled[atGroup], sums.scaleMax[g]);
    // a zero is a value less its span
    const zeros = over(zeroMagnitude, sums.valueMax + codeMax * sums.scaleMax[g]);

    // Subnormal P': 2^(w - 25) of units in which the largest so far is 2^14, w <= 6.
    const subnormal = 2 ** -33 * scaledMax * codeMax * packed;
    const rounding = weightError * (magnitude + spanSum) + subnormal;
    const products = productError(a, groups, magnitude + spanSum, scaled, scaledMax);
    const merges = constants.mergeError * (magnitude + spanSum + zeros);
    return (rounding + products + constants.sumError * zeros + merges) * secondOrder;
  });
}

/** Bounds of one query row; out: views of the head's rows. */
function boundRow(
  a: KnownArithmetic,
  head: HeadCache,
  sums: ValueSums,
  row: Row,
  out: Rows,
): boolean {
  const { weights, constants, index } = row;
  const { headSize, tokens } = head;
  const blocks = Math.ceil(tokens / 128);
  const keep = 1 - weights.drift;
  const divided = constants.sumError + 4 * u;
  const lost = flushed * (head.type === 'bf16' ? 1 + sums.valueMax : 1);
  const errors = numeratorErrors(a, head, sums, row);
  const limited = [
    weights.drift,
    constants.sumError,
    divided,
    productGamma(a, fusedGroups(a, head)),
  ];
  let valid = limited.every((constant) => constant < guardLimit);
  for (let d = 0; d < headSize; d++) {
    const at = index * headSize + d;
    const shadow = sums.shadowPacked[at] + sums.shadowTail[at];
    const known = Math.abs(shadow - sums.output[at]);
    let drift = sums.deviation[at];
    for (let block = 0; block < blocks; block++) {
      const apart = Math.abs(sums.centres[block * headSize + d] - shadow);
      drift += sums.driftOf[index * blocks + block] * apart;
    }
    drift /= keep;
    const sum = divided * (Math.abs(shadow) + drift);
    // float64 of this reference: sums of `tokens` terms, and the weights
    const own = (tokens + 256) * 2 ** -52 * sums.valueMax;
    const radius = known + drift + (errors[d] + sum) / (1 - divided) + own + lost;
    valid &&= Number.isFinite(radius);
    out.outputRadius[at] = radius;
    const stored = Math.max(Math.abs(sums.output[at]) + radius, normalMin(head.type));
    out.outputBound[at] = radius + roundingUnit(head.type) * stored;
  }
  const lse = ln2 * weights.logSum;
  const logOfSum =
    weights.anchor + weights.drift / keep + constants.sumError / (1 - constants.sumError);
  const rounded = ln2 * log2Error(log2(tokens)) + (4 * u + 2 ** -44) * Math.abs(lse) * (1 + u16);
  const apart = ln2 * Math.abs(weights.shadowLogSum - weights.logSum);
  out.lseBound[index] = (apart + logOfSum) * (1 + 8 * u) + rounded + flushed;
  return valid && Number.isFinite(out.lseBound[index]);
}

/** All query rows of one KV head. q: (queries, headSize). */
function boundHead(
  a: KnownArithmetic,
  head: HeadCache,
  scale: number,
  q: Float64Array,
  scratch: Scratch,
  room: Scores,
  out: Rows,
): void {
  const { tokens, headSize } = head;
  const queries = out.lse.length;
  if (tokens === 0) {
    out.lse.fill(Number.NEGATIVE_INFINITY);
    return;
  }
  const factor = scale * log2e;
  const scores = scoreHead(a, head, factor, q, scratch, room);
  const constants = rowConstants(a, tokens);
  const rowsOf = (x: Float64Array, h: number) => x.subarray(h * tokens, (h + 1) * tokens);
  const weights = Array.from({ length: queries }, (_, h) =>
    weighRow(
      a,
      constants,
      rowsOf(scores.exact, h),
      rowsOf(scores.shadow, h),
      rowsOf(scores.error, h),
    ),
  );
  const headWeights = {
    exact: scores.exact,
    shadow: scores.shadow,
    drift: scores.error,
    weightMax: weights.map((w) => w.weightMax),
  };
  const sums = sumValues(a, head, headWeights, scratch);
  out.output.set(sums.output);
  out.valueMax.fill(sums.valueMax);
  // Below 2^-80 the products of the scale with powers of two (down to 2^-38) may be subnormal.
  const inRange = factor === 0 || (Math.abs(factor) > 2 ** -80 && Math.abs(factor) < 2 ** 40);
  const finite = inRange && headIsFinite(a, head) && sums.valueMax * tokens < 2 ** 100;
  for (let h = 0; h < queries; h++) {
    out.lse[h] = ln2 * weights[h].logSum;
    const row: Row = { weights: weights[h], constants, index: h };
    const within = reach(head, factor, q.subarray(h * headSize, (h + 1) * headSize));
    const valid = boundRow(a, head, sums, row, out) && finite && within;
    if (valid) continue;
    out.guarded[h] = 1;
    if (weights[h].errorMax >= scoresUnknown && Number.isFinite(out.lse[h])) {
      const row = (x: Float64Array) => x.subarray(h * headSize, (h + 1) * headSize);
      infiniteAlternatives(head, scratch.room.rows, row(out.output), row(out.alternative));
    }
    out.lseBound[h] = Number.NaN;
    out.outputBound.fill(Number.NaN, h * headSize, (h + 1) * headSize);
    out.outputRadius.fill(Number.NaN, h * headSize, (h + 1) * headSize);
  }
}

function boundKnown(
  p: Problem,
  scale: number,
  q: Float64Array,
  heads: readonly HeadCache[],
  a: KnownArithmetic,
): BoundResult {
  const { queryHeads, kvHeads, headSize } = p;
  const rows = p.tokens.length * queryHeads;
  const type = elementType(p);
  const elements = () => new Float64Array(rows * headSize);
  const result: BoundResult = {
    type,
    output: elements(),
    outputBound: elements(),
    outputRadius: elements(),
    lse: new Float64Array(rows),
    lseBound: new Float64Array(rows),
    valueMax: new Float64Array(rows),
    guarded: new Uint8Array(rows),
    alternative: elements().fill(Number.NaN),
  };
  const queries = queriesPerKvHead(p);
  const scratch = boundScratch(queries, headSize);
  const room = scoreRoom(queries, Math.max(0, ...p.tokens));
  for (let i = 0; i < p.tokens.length * kvHeads; i++) {
    const [first, end] = [i * queries, (i + 1) * queries];
    const ofRows = (x: Float64Array) => x.subarray(first, end);
    const ofElements = (x: Float64Array) => x.subarray(first * headSize, end * headSize);
    boundHead(a, heads[i], scale, ofElements(q), scratch, room, {
      output: ofElements(result.output),
      outputBound: ofElements(result.outputBound),
      outputRadius: ofElements(result.outputRadius),
      lse: ofRows(result.lse),
      lseBound: ofRows(result.lseBound),
      valueMax: ofRows(result.valueMax),
      guarded: result.guarded.subarray(first, end),
      alternative: ofElements(result.alternative),
    });
  }
  return result;
}

/** x = max(x, y) element by element; a NaN stays. */
function raise(x: Float64Array | Uint8Array, y: Float64Array | Uint8Array): void {
  y.forEach((own, i) => {
    x[i] = Math.max(x[i], own);
  });
}

/** What a kernel may do with a cache; records that are plain rows leave one way. */
function operandsOf({ operands }: Arithmetic, heads: readonly HeadCache[]): readonly Operands[] {
  if (heads.every(({ scheme }) => isPlain(scheme))) return ['dequantized'];
  return operands === 'any' ? ['folded', 'dequantized', 'dequantized-twice'] : [operands];
}

/**
 * Float64 attention and its error bounds for a kernel with the given arithmetic.
 * q: words, (requests, queryTokens, queryHeads, headSize); heads: (requests, kvHeads), the kernel's
 * own cache. A query token has the bound of a request that ends at its own token.
 */
export function boundL1(
  p: Problem,
  softmaxScale: number,
  q: Uint16Array,
  heads: readonly HeadCache[],
  arithmetic: Arithmetic,
): BoundResult {
  const values = f64Array(q, undefined, elementType(p));
  const scale = Math.fround(softmaxScale); // what a kernel is given
  const flat = oneQueryToken(p, heads);
  const [result, ...others] = operandsOf(arithmetic, heads).map((operands) =>
    boundKnown(flat.problem, scale, values, flat.heads, { ...arithmetic, operands }),
  );
  for (const other of others) {
    raise(result.outputBound, other.outputBound);
    raise(result.outputRadius, other.outputRadius);
    raise(result.lseBound, other.lseBound);
    raise(result.valueMax, other.valueMax);
    raise(result.guarded, other.guarded);
    result.alternative.forEach((x, i) => {
      if (Number.isNaN(x)) result.alternative[i] = other.alternative[i];
    });
  }
  return result;
}

/**
 * Whether a stored value lies where a kernel's may: between the roundings of output - radius and
 * output + radius. As sharp as the bound allows, and it decides the class (finite or Inf) at the
 * edge of the type: below 65520 an fp16 result must be finite, above it must be Inf, and between it
 * may be either. NaN never does, nor anything in a guarded row.
 */
export function admitsOutput(result: BoundResult, index: number, stored: number): boolean {
  const { output, outputRadius, type } = result;
  const low = elementRound(type, output[index] - outputRadius[index]);
  const high = elementRound(type, output[index] + outputRadius[index]);
  return stored >= low && stored <= high;
}
