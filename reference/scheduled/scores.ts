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
import { codeChain, codeOperand, power } from './code-chain.js';
import type { Exponential } from './interval.js';
import { alignmentsOf, rowChain } from './row-chain.js';
import type { ScaledQuery } from './scaled-query.js';
import { fieldWeight, wideChannel } from './schedule.js';

const { fround } = Math;

/** The tensor core with fp16 operands, and with operands of the problem's type; ex2. */
export interface Cores {
  readonly codes: DotModel;
  readonly rows: DotModel;
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

function perChannel(cores: Cores, head: HeadCache, query: ScaledQuery, scores: Float64Array): void {
  const { headSize, packed, k } = head;
  const { bits, group } = head.scheme;
  const weights = fieldWeights(bits, headSize);
  const { hat, top, zeroFactor, codeFactor } = query;
  for (let first = 0; first < packed; first += group) {
    const { scales, zeros, e } = groupParameters(head, first / group);
    const m = power(14 - top - e);
    const folded = scales.map((s, d) => f16Round(f16Round(hat[d] * s * m) * power(-weights[d])));
    const operand = codeOperand(cores.codes, folded, weights);
    const zero = fround(tensorDot(cores.codes, 0, zeros, hat) * zeroFactor);
    const factor = fround(codeFactor * power(10 + e));
    for (let t = first; t < Math.min(first + group, packed); t++) {
      const sum = codeChain(cores.codes, k.codes, t * headSize, operand, 0, headSize);
      scores[t] = fmaF32(sum * 2 ** -24, factor, zero);
    }
  }
}

function perToken(cores: Cores, head: HeadCache, query: ScaledQuery, scores: Float64Array): void {
  const { headSize, packed, k } = head;
  const weights = fieldWeights(head.scheme.bits, headSize);
  const group = channelGroup(head.scheme, headSize);
  const groups = headSize / group;
  const weighed = query.hat.map((x, d) => f16Round(x * power(-weights[d])));
  const operand = codeOperand(cores.codes, weighed, weights);
  const ones = new Float64Array(group).fill(1);
  const sums = Array.from({ length: groups }, (_, g) =>
    fround(
      tensorDot(cores.codes, 0, ones, query.hat.subarray(g * group, (g + 1) * group)) / 2 ** 24,
    ),
  );
  const factor = fround(query.zeroFactor * 2 ** 24);
  for (let t = 0; t < packed; t++) {
    let score = 0;
    for (let g = 0; g < groups; g++) {
      const at = t * groups + g;
      const [from, to] = [g * group, (g + 1) * group];
      const sum = codeChain(cores.codes, k.codes, t * headSize, operand, from, to) * 2 ** -24;
      const zero = fround(f16Values[k.zeros[at]] * sums[g]);
      const own = fmaF32(sum, f16Values[k.scales[at]], zero);
      score = g === 0 ? own : fround(score + own);
    }
    scores[t] = fround(score * factor);
  }
}

function ofRows(cores: Cores, head: HeadCache, query: ScaledQuery, scores: Float64Array): void {
  const { headSize, packed, tokens, type, kResidual } = head;
  const [q, factor] = type === 'bf16' ? [query.own, query.k2] : [query.hat, query.zeroFactor];
  const least = alignmentsOf(type);
  const least0 = type === 'bf16' ? -126 : -14;
  const align = Int32Array.from(q, (x) => (x === 0 ? least[0] : Math.max(exponentOf(x), least0)));
  const order = isPlain(head.scheme) ? wideChannel : (k: number) => k;
  const channels = Int32Array.from({ length: headSize }, (_, k) => order(k));
  for (let t = packed; t < tokens; t++) {
    const row = kResidual.subarray((t - packed) * headSize, (t - packed + 1) * headSize);
    scores[t] = fround(rowChain(cores.rows, type, row, q, align, channels) * factor);
  }
}

/** (tokens), binary32 values. */
export function scheduledScores(cores: Cores, head: HeadCache, query: ScaledQuery): Float64Array {
  const scores = new Float64Array(head.tokens);
  if (head.packed > 0) {
    (head.scheme.kAxis === 'token' ? perToken : perChannel)(cores, head, query, scores);
  }
  ofRows(cores, head, query, scores);
  return scores;
}
