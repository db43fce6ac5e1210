/**
 * The scores of one query row in a folding kernel, bit for bit: base-2 exponents, before any
 * exponential, so that nothing about them is open.
 *
 *   K per channel  S = fma(sum of codes q', code factor, RN(sum of zeros q^ zero factor)), with
 *                  q' = RN16(RN16(q^ s m) 2^-w), m = 2^(14 - top - e), e the exponent of the token
 *                  group's largest scale, clamped to [-24, 15]; sums in units of 2^(10 + e - 24)
 *   K per token    S = RN(factor sum over channel groups of fma(code sum, s, RN(z sum of q^))), the
 *                  sums in units of 2^-24, the first group as it is, the others added one by one
 *   rows           S = RN(sum of rows q^ factor); of bf16 rows q itself and k2
 */
import type { HeadCache } from '../cache.js';
import { exponentOf, f16Round, f16Values, f64Array } from '../format.js';
import { type DotModel, tensorDot } from '../mma.js';
import { fmaF32 } from '../number-type.js';
import { channelGroup, isPlain } from '../scheme.js';
import { codeAlignment, power } from './code-chain.js';
import type { CodeTile, FusedCodes } from './fused-codes.js';
import type { Exponential } from './interval.js';
import { alignmentsOf, rowChain } from './row-chain.js';
import type { ScaledQuery } from './scaled-query.js';
import { fieldWeight, type Part, wideChannel } from './schedule.js';

const { fround } = Math;

/**
 * The tensor core with fp16 operands, and ex2. Rows of the problem's type bring the exponents by
 * which they align (row-chain.ts).
 */
export interface Cores {
  readonly core: DotModel;
  readonly exponential: Exponential;
}

function fieldWeights(bits: number, columns: number): Int32Array {
  return Int32Array.from({ length: columns }, (_, column) => fieldWeight(bits, column));
}

/** Parameters of a token group of K per channel, (headSize), and the exponent e of the scales. */
function groupParameters({ k, headSize }: HeadCache, group: number) {
  const values = (x: Uint16Array) => {
    return f64Array(x.subarray(group * headSize, (group + 1) * headSize));
  };
  const scales = values(k.scales);
  let max = 0;
  for (const scale of scales) max = Math.max(max, scale);
  const e = Math.min(Math.max(exponentOf(max), -24), 15);
  return { scales, zeros: values(k.zeros), e };
}

/** Makes values b of each channel, and their field weights, the operand of the fused sums. */
function setCodeOperand(fused: FusedCodes, b: (d: number) => number, weights: Int32Array): void {
  const { x, align } = fused;
  for (let d = 0; d < weights.length; d++) {
    const value = b(d);
    x[d] = value * power(weights[d]);
    align[d] = codeAlignment(value);
  }
  fused.setOperand(weights.length);
}

/** Scores of a part for one query row: keys is the tile of the part's K, null of rows. */
export type PartScores = (part: Part, keys: CodeTile | null, scores: Float64Array) => void;

function perChannel(cores: Cores, fused: FusedCodes, head: HeadCache, query: ScaledQuery) {
  const { headSize } = head;
  const { bits, group } = head.scheme;
  const weights = fieldWeights(bits, headSize);
  const inverses = Float64Array.from(weights, (w) => power(-w));
  const { hat, top, zeroFactor, codeFactor } = query;
  const runs = headSize / cores.core.fusedProducts;
  return (part: Part, keys: CodeTile, scores: Float64Array): void => {
    const { sums } = fused;
    for (let first = part.first; first < part.end; first += group) {
      const { scales, zeros, e } = groupParameters(head, first / group);
      const m = power(14 - top - e);
      const folded = (d: number) => f16Round(f16Round(hat[d] * scales[d] * m) * inverses[d]);
      setCodeOperand(fused, folded, weights);
      const zero = fround(tensorDot(cores.core, 0, zeros, hat) * zeroFactor);
      const factor = fround(codeFactor * power(10 + e));
      const [from, to] = [first - part.first, Math.min(first + group, part.end) - part.first];
      sums.fill(0, from, to);
      fused.add(keys, 0, runs, headSize, from, to);
      for (let t = from; t < to; t++) scores[t] = fmaF32(sums[t] * 2 ** -24, factor, zero);
    }
  };
}

function perToken(cores: Cores, fused: FusedCodes, head: HeadCache, query: ScaledQuery) {
  const { headSize, k } = head;
  const weights = fieldWeights(head.scheme.bits, headSize);
  const group = channelGroup(head.scheme, headSize);
  const groups = headSize / group;
  const weighed = query.hat.map((x, d) => f16Round(x * power(-weights[d])));
  const ones = new Float64Array(group).fill(1);
  const ofGroup = Array.from({ length: groups }, (_, g) =>
    fround(
      tensorDot(cores.core, 0, ones, query.hat.subarray(g * group, (g + 1) * group)) / 2 ** 24,
    ),
  );
  const factor = fround(query.zeroFactor * 2 ** 24);
  const runs = group / cores.core.fusedProducts;
  return (part: Part, keys: CodeTile, scores: Float64Array): void => {
    const { sums } = fused;
    const count = part.end - part.first;
    setCodeOperand(fused, (d) => weighed[d], weights);
    for (let g = 0; g < groups; g++) {
      sums.fill(0, 0, count);
      fused.add(keys, g * runs, (g + 1) * runs, headSize, 0, count);
      for (let t = 0; t < count; t++) {
        const at = (part.first + t) * groups + g;
        const zero = fround(f16Values[k.zeros[at]] * ofGroup[g]);
        const own = fmaF32(sums[t] * 2 ** -24, f16Values[k.scales[at]], zero);
        scores[t] = g === 0 ? own : fround(scores[t] + own);
      }
    }
    for (let t = 0; t < count; t++) scores[t] = fround(scores[t] * factor);
  };
}

function ofRows(cores: Cores, head: HeadCache, query: ScaledQuery) {
  const { headSize, packed, type, kResidual } = head;
  const [q, factor] = type === 'bf16' ? [query.own, query.k2] : [query.hat, query.zeroFactor];
  const least = alignmentsOf(type);
  const least0 = type === 'bf16' ? -126 : -14;
  const align = Int32Array.from(q, (x) => (x === 0 ? least[0] : Math.max(exponentOf(x), least0)));
  const order = isPlain(head.scheme) ? wideChannel : (k: number) => k;
  const channels = Int32Array.from({ length: headSize }, (_, k) => order(k));
  return (part: Part, scores: Float64Array): void => {
    for (let t = part.first; t < part.end; t++) {
      const row = kResidual.subarray((t - packed) * headSize, (t - packed + 1) * headSize);
      const sum = rowChain(cores.core, type, row, q, align, channels);
      scores[t - part.first] = fround(sum * factor);
    }
  };
}

/** Writes binary32 values. */
export function partScores(
  cores: Cores,
  fused: FusedCodes,
  head: HeadCache,
  query: ScaledQuery,
): PartScores {
  const packed = (head.scheme.kAxis === 'token' ? perToken : perChannel)(cores, fused, head, query);
  const rows = ofRows(cores, head, query);
  return (part, keys, scores) => {
    if (keys === null) rows(part, scores);
    else packed(part, keys, scores);
  };
}
