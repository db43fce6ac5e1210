/**
 * The bound of bound.ts once more for one query row, term by term as the README names them: every
 * sum over tokens where it stands in the formula, one channel at a time, nothing shared between
 * rows, no blocks but those that the deviation is defined by. For tests, on small problems. The
 * error of a score comes from key-groups.ts and score-bound.ts, whose tests have numbers of their
 * own, and so do the constants of arithmetic.ts.
 */
import { type KnownArithmetic, rowConstants } from '../arithmetic.js';
import { type HeadCache, keyRows, valueRows } from '../cache.js';
import { exp2, log2 } from '../exp.js';
import { elementRound, exponentOf, f16Values } from '../format.js';
import { channelGroupTerms, dequantizedGroup, foldedGroup } from '../key-groups.js';
import type { Quantized } from '../quantize.js';
import { channelGroup } from '../scheme.js';
import { plainChainError, queryOf } from '../score-bound.js';

const ln2 = Math.LN2;
const u = 2 ** -24;
const scoreRounding = 4 * u + 2 ** -44;

export interface PlainBound {
  /** (channels) each */
  readonly output: Float64Array;
  readonly radius: Float64Array;
  readonly bound: Float64Array;
  readonly lse: number;
  readonly lseBound: number;
  readonly valueMax: number;
  /** of all weights together: what guardLimit is for */
  readonly drift: number;
}

const sum = (x: ArrayLike<number>) => Array.from(x).reduce((all, y) => all + y, 0);
const max = (x: ArrayLike<number>) => Array.from(x).reduce((all, y) => Math.max(all, y), 0);
const dot = (x: ArrayLike<number>, y: ArrayLike<number>) =>
  Array.from(x).reduce((all, value, i) => all + value * y[i], 0);

/** One query row and what it looks at. */
interface Row {
  readonly a: KnownArithmetic;
  readonly head: HeadCache;
  readonly q: Float64Array;
  /** |x|, an operand of the tensor core: nothing but 0 is below the normal numbers */
  readonly raised: (x: number) => number;
}

/** All rows of K or V, (tokens, headSize). */
function allRows(head: HeadCache, rows: typeof keyRows): Float64Array {
  const { packed, tokens } = head;
  return Float64Array.of(...rows(head, 0, packed), ...rows(head, packed, tokens - packed));
}

/** Scale and zero of one element of K or V. */
function parameters(row: Row, tensor: 'k' | 'v', j: number, i: number): [number, number] {
  const { scheme, headSize } = row.head;
  const own: Quantized = row.head[tensor];
  const at =
    tensor === 'k' && scheme.kAxis === 'channel'
      ? Math.floor(j / scheme.group) * headSize + i
      : Math.floor((j * headSize + i) / channelGroup(scheme, headSize));
  return [f16Values[own.scales[at]], f16Values[own.zeros[at]]];
}

/** Rows of K or V as the kernel multiplies them. */
function kernelRows(row: Row, tensor: 'k' | 'v', exact: Float64Array): Float64Array {
  const { a, head } = row;
  if (a.operands === 'folded') return exact;
  return exact.map((x, at) => {
    const [j, i] = [Math.floor(at / head.headSize), at % head.headSize];
    if (j >= head.packed) return x;
    const [scale, zero] = parameters(row, tensor, j, i);
    const product = head[tensor].codes[at] * scale;
    const once = a.operands === 'dequantized' ? product : elementRound(head.type, product);
    return elementRound(head.type, once + zero);
  });
}

/** Shift and error of the score of a packed token, in units of q.k; K keeps codes. */
function foldedScore(row: Row, j: number): { shift: number; error: number } {
  const { a, head, q } = row;
  const { headSize, scheme } = head;
  const query = queryOf(q, head.type, q.map(row.raised));
  const codeMax = 2 ** scheme.bits - 1;
  const own = Array.from(q, (_, i) => parameters(row, 'k', j, i));
  if (scheme.kAxis === 'channel') {
    const scales = Float64Array.from(own, ([scale]) => scale);
    const zeros = Float64Array.from(own, ([, zero]) => zero);
    const exponent = Math.max(exponentOf(max(scales)), -24);
    const shifts = new Float64Array(headSize);
    const terms = foldedGroup(a, query, scales, exponent, zeros, scheme.bits, shifts);
    const codes = head.k.codes.subarray(j * headSize, (j + 1) * headSize);
    return { shift: dot(shifts, codes), error: terms.error + scoreRounding * terms.magnitude };
  }
  const group = channelGroup(scheme, headSize);
  const rounding = scoreRounding + (5 + headSize / group) * u;
  let error = 0;
  for (let first = 0; first < headSize; first += group) {
    const [scale, zero] = [own[first][0], Math.abs(own[first][1])];
    const terms = channelGroupTerms(a, query, first, first + group, scheme.bits);
    error += scale * (terms.codeError + rounding * terms.codeSum + terms.lost * codeMax);
    error += zero * (terms.zeroError + rounding * terms.zeroSum + terms.lost);
  }
  return { shift: 0, error };
}

/** Base-2 exponents of every token: exact, of the shadow, and how far the kernel may be off. */
function scoresOf(row: Row, c: number) {
  const { a, head, q } = row;
  const { headSize, tokens, packed, scheme, type } = head;
  const keys = allRows(head, keyRows);
  const own = kernelRows(row, 'k', keys);
  const [exact, shadow, error] = [0, 0, 0].map(() => new Float64Array(tokens));
  const floor = type === 'bf16' ? 2 ** -50 : 0;
  for (let j = 0; j < tokens; j++) {
    const part = (x: Float64Array) => x.subarray(j * headSize, (j + 1) * headSize);
    exact[j] = c * dot(q, part(keys));
    if (j < packed && a.operands === 'folded') {
      const score = foldedScore(row, j);
      shadow[j] = exact[j] + c * score.shift;
      error[j] = Math.abs(c) * score.error + floor;
      continue;
    }
    shadow[j] = c * dot(q, part(own));
    const sizes = dot(q.map(row.raised), part(own).map(row.raised));
    let terms = { error: plainChainError(a, headSize, sizes), magnitude: sizes };
    if (j < packed && scheme.kAxis === 'channel') {
      const of = Array.from(q, (_, i) => parameters(row, 'k', j, i));
      const scales = Float64Array.from(of, ([scale]) => scale);
      const zeros = Float64Array.from(of, ([, zero]) => zero);
      terms = dequantizedGroup(a, queryOf(q, type, q.map(row.raised)), scales, zeros, scheme.bits);
    }
    error[j] = Math.abs(c) * (terms.error + scoreRounding * terms.magnitude) + floor;
  }
  return { exact, shadow, error };
}

/** Weights of the row and what their drifts add up to (row-weights.ts). */
function weightsOf(row: Row, c: number) {
  const { a, head } = row;
  const { tokens } = head;
  const { exact, shadow, error } = scoresOf(row, c);
  const softmax = (t: Float64Array) => {
    const most = t.reduce((all, x) => Math.max(all, x), Number.NEGATIVE_INFINITY);
    const powers = t.map((x) => exp2(x - most));
    return { weights: powers.map((x) => x / sum(powers)), logSum: most + log2(sum(powers)), most };
  };
  const [own, truth] = [softmax(shadow), softmax(exact)];
  const errors = error.map(
    (e, j) => (1 + 2 ** -20) * ln2 * (e + 4 * u * Math.min(own.most - shadow[j], 128)),
  );
  const { rescales } = rowConstants(a, tokens);
  let common = (1 + rescales) * 1.48e-7;
  if (a.operands !== 'folded') {
    const scoreMax = max(shadow.map(Math.abs));
    const merged = Math.max(scoreMax + log2(tokens), Math.abs(own.logSum));
    common += ln2 * (2 * u * scoreMax + 4 * u * merged + 2 ** -22 * Math.max(1, log2(tokens)));
  }
  const heaviest = own.weights.indexOf(max(own.weights));
  const anchored = own.weights[heaviest] >= 0.5;
  const anchor = anchored ? errors[heaviest] + common : 0;
  const theta = errors.map((e, j) => {
    const x = e + common + anchor;
    if (anchored && j === heaviest) return 0;
    return x <= 1 ? x + x * x : exp2(x / ln2) * (1 + 2 ** -40) - 1;
  });
  const drifts = theta.map((t, j) => t * own.weights[j]);
  const largest = max(own.weights);
  const isTail = own.weights.map((w) => (w < 2 ** -100 * largest ? 1 : 0));
  return {
    ...{ exact: truth.weights, shadow: own.weights, drifts, largest, anchor },
    ...{ logSum: truth.logSum, shadowLogSum: own.logSum },
    total: sum(drifts),
    tail: dot(drifts, isTail),
    thetaMax: max(theta.map((t, j) => t * (1 - isTail[j]))),
  };
}

type Weights = ReturnType<typeof weightsOf>;

/** sum b_j |v~_j - o~| through the mean of each 128 tokens. */
function deviationOf(weights: Weights, own: Float64Array, shadow: number): number {
  let all = 0;
  for (let first = 0; first < own.length; first += 128) {
    const block = own.slice(first, first + 128);
    const mean = sum(block) / block.length;
    const drifts = weights.drifts.slice(first, first + 128);
    all += dot(
      drifts,
      block.map((v) => Math.abs(v - mean)),
    );
    all += sum(drifts) * Math.abs(mean - shadow);
  }
  return all;
}

/** README's rounding, products, zeros and merges of one channel. own: v~, (tokens). */
function numeratorOf(row: Row, weights: Weights, d: number, own: Float64Array, valueMax: number) {
  const { a, head } = row;
  const { packed, tokens, scheme, type } = head;
  const isFolded = a.operands === 'folded';
  const constants = rowConstants(a, tokens);
  const over = (of: number, most: number) =>
    (of * (1 + weights.thetaMax) + (weights.tail + tokens * 2 ** -100) * most) /
    (1 - weights.total);
  const steps = Math.ceil(packed / 16) + Math.ceil((tokens - packed) / 16);
  const twice = isFolded && type === 'bf16' ? Math.ceil((tokens - packed) / 16) : 0;
  const sums = ((steps + twice) * 16) / a.fusedProducts;
  const quantum = (a.fusedProducts + 1) * 2 ** -a.fraction;
  const secondOrder = 1 + 2 * sums * (quantum + 2 * u);
  const rounding = (type === 'bf16' && !isFolded ? 2 ** -8 : 2 ** -11) + 2 * u;
  const asRows = Array.from(own, (v, j) =>
    isFolded && j < packed
      ? 0
      : Math.max(weights.shadow[j], 2 ** -14 * weights.largest) * row.raised(v),
  );
  const magnitude = over(sum(asRows), valueMax);
  if (!isFolded) {
    const products = sums * (quantum + 2 * u) * magnitude;
    return ((rounding + constants.mergeError) * magnitude + products) * secondOrder;
  }
  const codeMax = 2 ** scheme.bits - 1;
  const of = Array.from({ length: packed }, (_, j) => parameters(row, 'v', j, d));
  const terms = of.map(([scale, zero], j) => {
    const w = weights.shadow[j];
    return { scaled: w * scale, zero: w * Math.abs(zero), value: w * (own[j] - zero) };
  });
  const scaleMax = max(of.map(([scale]) => scale));
  const zeroSum = sum(terms.map((t) => t.zero));
  const span = over(sum(terms.map((t) => t.value)) + 2 ** -40 * zeroSum, codeMax * scaleMax);
  const zeros = over(zeroSum, valueMax + codeMax * scaleMax);
  const scaled = over(sum(terms.map((t) => t.scaled)), scaleMax);
  const scaledMax = over(max(terms.map((t) => t.scaled)), scaleMax);
  const all = magnitude + span;
  const aligned = Math.min(
    sums * Math.max(all, 1024 * scaledMax),
    sums * all + 1024 * (scaled + sums * 2 ** -28 * scaledMax),
  );
  const products = quantum * aligned + sums * 2 * u * all;
  const subnormal = 2 ** -33 * scaledMax * codeMax * packed;
  const merges = constants.mergeError * (all + zeros);
  return (
    (rounding * all + subnormal + products + constants.sumError * zeros + merges) * secondOrder
  );
}

/**
 * q: (headSize); softmaxScale: as a kernel is given it; channels: which elements of the output. The
 * row has tokens; if it is guarded its bounds mean nothing.
 */
export function plainBound(
  a: KnownArithmetic,
  head: HeadCache,
  softmaxScale: number,
  q: Float64Array,
  channels: readonly number[],
): PlainBound {
  const { tokens, headSize, type } = head;
  const smallest = type === 'bf16' ? 2 ** -126 : 2 ** -14;
  const raised = (x: number) => (x === 0 ? 0 : Math.max(Math.abs(x), smallest));
  const row: Row = { a, head, q, raised };
  const weights = weightsOf(row, softmaxScale / ln2);
  const values = allRows(head, valueRows);
  const own = kernelRows(row, 'v', values);
  const valueMax = Math.max(smallest, max(own.map(Math.abs)));
  const { sumError } = rowConstants(a, tokens);
  const divided = sumError + 4 * u;
  const keep = 1 - weights.total;
  const [output, radius, bound] = [0, 0, 0].map(() => new Float64Array(channels.length));
  channels.forEach((d, at) => {
    const channel = (x: Float64Array) => x.filter((_, i) => i % headSize === d);
    output[at] = dot(weights.exact, channel(values));
    const shadow = dot(weights.shadow, channel(own));
    const drift = deviationOf(weights, channel(own), shadow) / keep;
    const numerator = numeratorOf(row, weights, d, channel(own), valueMax);
    const float64 = (tokens + 256) * 2 ** -52 * valueMax;
    radius[at] = Math.abs(shadow - output[at]) + drift + float64;
    radius[at] += (numerator + divided * (Math.abs(shadow) + drift)) / (1 - divided);
    radius[at] += 2 ** -64 * (type === 'bf16' ? 1 + valueMax : 1);
    const unit = type === 'bf16' ? 2 ** -8 : 2 ** -11;
    bound[at] = radius[at] + unit * Math.max(Math.abs(output[at]) + radius[at], smallest);
  });
  const lse = ln2 * weights.logSum;
  const apart = ln2 * Math.abs(weights.shadowLogSum - weights.logSum);
  const sums = weights.anchor + weights.total / keep + sumError / (1 - sumError);
  const logarithm = ln2 * 2 ** -22 * Math.max(1, Math.abs(log2(tokens)));
  const base = (4 * u + 2 ** -44) * Math.abs(lse) * (1 + 2 ** -11);
  const lseBound = (apart + sums) * (1 + 8 * u) + logarithm + base + 2 ** -64;
  return { output, radius, bound, lse, lseBound, valueMax, drift: weights.total };
}
