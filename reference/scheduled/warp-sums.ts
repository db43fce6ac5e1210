/**
 * What one warp of a folding kernel carries from part to part, as intervals: sums of weights, of
 * weights times V zeros, and of P' times codes or rows.
 *
 * After the scores of a part (M its maximum and of all before, decay 2^(old M - M)):
 *   p_t     = ex2(S_t - M), the first choice that may be open
 *   sum     of lane g = t mod 8: RN(sum decay), then for tokens 16 i + g RN(sum + RN(p_t + p_t+8))
 *   zero    of a lane and channel group: RN(zero decay), then fma(p_t, z_t, zero) token by token
 *   top     = max(w_t, RN(top decay)), w_t = RN(p_t s_t)
 *   unit    = 14 - exponent of top, clamped to [-2, 100]: P' = RN16(w_t 2^(unit - w))
 *   o       RN(o decay 2^(change of unit)), then fused sums of P' and codes, 16 tokens at a time
 *   rows    the unit is 39 (bf16: 24), P' = RN16(p 2^15), or two bf16 terms of p
 * o is kept in real units (o 2^(24 - unit)), where a power of two changes nothing but what
 * underflows; bound-l2.ts pays that.
 */
import type { HeadCache } from '../cache.js';
import { type ElementType, elementRound, exponentOf, f16Values } from '../format.js';
import { channelGroup } from '../scheme.js';
import { type Core, zeroExponent } from './code-chain.js';
import { addCodes, type TokenWeights } from './code-sums.js';
import { type CodeTile, FusedCodes } from './fused-codes.js';
import {
  type Exponential,
  ex2,
  fmaHigh,
  fmaLow,
  type Interval,
  scaledHigh,
  scaledLow,
} from './interval.js';
import { addKnownGroup, roundedWeight, unitOf } from './known-sums.js';
import { addRowProducts, type RowCore, type WeightRange } from './row-chain.js';
import { fieldWeight, type Part } from './schedule.js';
import type { Cores } from './scores.js';

const { fround } = Math;

/** Largest score of no token: native/kernels/softmax_state.h. */
export const emptyMax: number = -(2 - 2 ** -23) * 2 ** 127;

const lanes = 8;

/** Ends of intervals; low and high as (what the name says). */
export interface Ends {
  readonly low: Float64Array;
  readonly high: Float64Array;
}

export interface WarpSums {
  max: number;
  /** (8) */
  readonly sum: Ends;
  /** (groups, 8) */
  readonly zero: Ends;
  /** (groups) */
  readonly top: Ends;
  /** (headSize), real units */
  readonly o: Ends;
}

const ends = (length: number): Ends => ({
  low: new Float64Array(length),
  high: new Float64Array(length),
});

/** Channel groups that are told apart. */
export function valueGroups({ scheme, headSize, v }: HeadCache): number {
  return v.scales.length === 0 ? 1 : headSize / channelGroup(scheme, headSize);
}

export function emptyWarp(head: HeadCache): WarpSums {
  const groups = valueGroups(head);
  return {
    max: emptyMax,
    ...{ sum: ends(lanes), zero: ends(groups * lanes), top: ends(groups), o: ends(head.headSize) },
  };
}

/** x = RN(x decay) for elements [first, end). */
function decayEnds({ low, high }: Ends, decay: Interval, first: number, end: number): void {
  if (decay.low === 1) return; // then exactly 1
  for (let i = first; i < end; i++) {
    low[i] = scaledLow(decay, low[i]);
    high[i] = scaledHigh(decay, high[i]);
  }
}

/** Takes the scores of a part; p receives the weights, (tokens of the part). */
function softmaxStep(
  exponential: Exponential,
  state: WarpSums,
  scores: Float64Array,
  p: Ends,
): Interval {
  const old = state.max;
  let max = old;
  for (let t = 0; t < scores.length; t++) if (scores[t] > max) max = scores[t];
  state.max = max;
  const decay = ex2(exponential, fround(old - max));
  decayEnds(state.sum, decay, 0, lanes);
  for (let t = 0; t < scores.length; t++) {
    const x = fround(scores[t] - max);
    p.low[t] = exponential.low(x);
    if (!exponential.isKnown) p.high[t] = exponential.high(x);
  }
  if (exponential.isKnown) p.high.set(p.low);
  p.low.fill(0, scores.length);
  p.high.fill(0, scores.length);
  for (const [sum, weight] of [
    [state.sum.low, p.low],
    [state.sum.high, p.high],
  ]) {
    for (let t = 0; t < scores.length; t += 16) {
      for (let g = 0; g < lanes; g++) {
        sum[g] = fround(sum[g] + fround(weight[t + g] + weight[t + g + 8]));
      }
    }
  }
  return decay;
}

/** One token's P', in real units, for a unit in [unit.low, unit.high]. */
function setWeight(out: TokenWeights, t: number, w: Interval, unit: Interval, field: number): void {
  const [a, b] = [unit.low - field, unit.high - field];
  let low = roundedWeight(w.low, a);
  let high = roundedWeight(w.high, a);
  if (a !== b) {
    low = Math.min(low, roundedWeight(w.low, b));
    high = Math.max(high, roundedWeight(w.high, b));
  }
  out.low[t] = low;
  out.high[t] = high;
  const align = (x: number, u: number) =>
    x === 0 ? zeroExponent : Math.max(exponentOf(x) - field + 10, -4 - u);
  out.highAlign[t] = align(high, unit.low);
  out.lowAlign[t] = low === high && a === b ? out.highAlign[t] : align(low, unit.high);
}

/** Room for one part, shared by all warps of a call. */
export interface PartScratch {
  readonly fused: FusedCodes;
  readonly scores: Float64Array;
  readonly p: Ends;
  readonly weights: TokenWeights;
}

export function partScratch(core: Core, headSize: number): PartScratch {
  const align = () => new Int32Array(128);
  return {
    fused: new FusedCodes(core, headSize),
    scores: new Float64Array(128),
    p: ends(128),
    weights: { ...ends(128), lowAlign: align(), highAlign: align(), order: align() },
  };
}

function addPackedGroup(
  cores: Cores,
  head: HeadCache,
  state: WarpSums,
  part: Part,
  decay: Interval,
  group: number,
  { p, weights }: PartScratch,
): void {
  const { v, scheme, headSize } = head;
  const groups = valueGroups(head);
  const count = part.end - part.first;
  const { zero, top } = state;
  decayEnds(zero, decay, group * lanes, (group + 1) * lanes);
  let topLow = scaledLow(decay, top.low[group]);
  let topHigh = scaledHigh(decay, top.high[group]);
  for (let t = 0; t < count; t++) {
    const parameter = (part.first + t) * groups + group;
    const scale = f16Values[v.scales[parameter]];
    const z = f16Values[v.zeros[parameter]];
    const lane = group * lanes + (t & 7);
    const weight = { low: p.low[t], high: p.high[t] };
    zero.low[lane] = fmaLow(weight, z, zero.low[lane]);
    zero.high[lane] = fmaHigh(weight, z, zero.high[lane]);
    weights.low[t] = fround(p.low[t] * scale);
    weights.high[t] = fround(p.high[t] * scale);
    if (weights.low[t] > topLow) topLow = weights.low[t];
    if (weights.high[t] > topHigh) topHigh = weights.high[t];
  }
  top.low[group] = topLow;
  top.high[group] = topHigh;
  const unit = { low: unitOf(topHigh), high: unitOf(topLow) };
  for (let t = 0; t < count; t++) {
    const w = { low: weights.low[t], high: weights.high[t] };
    setWeight(weights, t, w, unit, fieldWeight(scheme.bits, t));
  }
  const size = headSize / groups;
  decayEnds(state.o, decay, group * size, (group + 1) * size);
  addCodes(cores.core, head, part, weights, group * size, (group + 1) * size, state.o);
}

/** Weights of one term of a bf16 or fp16 row's P', in kernel units. */
function setTerm(out: WeightRange, t: number, low: number, high: number, least: number): void {
  out.low[t] = low;
  out.high[t] = high;
  const align = (x: number) => (x === 0 ? zeroExponent : Math.max(exponentOf(x), least));
  // What lies on both sides of zero may be zero.
  const [a, b] = [Math.abs(low), Math.abs(high)];
  out.lowAlign[t] = low < 0 && high > 0 ? zeroExponent : align(Math.min(a, b));
  out.highAlign[t] = align(Math.max(a, b));
}

/** The terms of P' of a part of rows: one of fp16 weights, two of bf16 weights. */
function rowTerms(type: ElementType, p: Ends, count: number): WeightRange[] {
  const term = (): WeightRange => ({
    ...ends(count),
    lowAlign: new Int32Array(count),
    highAlign: new Int32Array(count),
  });
  const first = term();
  const round = (x: number) => elementRound(type, x);
  if (type === 'fp16') {
    for (let t = 0; t < count; t++) {
      setTerm(first, t, round(p.low[t] * 2 ** 15), round(p.high[t] * 2 ** 15), -14);
    }
    return [first];
  }
  const second = term();
  for (let t = 0; t < count; t++) {
    const [low, high] = [round(p.low[t]), round(p.high[t])];
    setTerm(first, t, low, high, -126);
    setTerm(second, t, round(fround(p.low[t] - high)), round(fround(p.high[t] - low)), -126);
  }
  return [first, second];
}

function addRows(
  core: RowCore,
  head: HeadCache,
  state: WarpSums,
  part: Part,
  decay: Interval,
  p: Ends,
): void {
  const { headSize, type, vResidual, packed } = head;
  const { low, high } = state.o;
  decayEnds(state.zero, decay, 0, state.zero.low.length);
  decayEnds(state.o, decay, 0, headSize);
  const count = part.end - part.first;
  const terms = rowTerms(type, p, count);
  const toKernel = type === 'fp16' ? 2 ** 15 : 1;
  const pair = new Float64Array(2);
  for (let d = 0; d < headSize; d++) {
    const base = (part.first - packed) * headSize + d;
    pair[0] = low[d] * toKernel;
    pair[1] = high[d] * toKernel;
    for (let step = 0; step < count; step += 16) {
      const end = Math.min(step + 16, count);
      for (const term of terms) {
        for (let first = step; first < end; first += core.fusedProducts) {
          const to = Math.min(first + core.fusedProducts, end);
          addRowProducts(core, type, vResidual, base, headSize, term, first, to, pair);
        }
      }
    }
    low[d] = pair[0] / toKernel;
    high[d] = pair[1] / toKernel;
  }
}

/** Codes of a packed part, or null: runs of channels of K's tokens, of tokens of V's channels. */
export interface PartTiles {
  readonly keys: CodeTile | null;
  readonly values: CodeTile | null;
}

export function partTiles({ fused }: PartScratch, head: HeadCache, part: Part): PartTiles {
  const { headSize, packed, k, v } = head;
  if (part.first >= packed) return { keys: null, values: null };
  const own = (codes: Uint8Array) => codes.subarray(part.first * headSize, part.end * headSize);
  return {
    keys: fused.keys(own(k.codes), headSize),
    values: fused.values(own(v.codes), headSize),
  };
}

/** Takes one part into the sums of its warp. scores: of the part's tokens. */
export function addPart(
  cores: Cores,
  head: HeadCache,
  state: WarpSums,
  part: Part,
  { values }: PartTiles,
  scores: Float64Array,
  scratch: PartScratch,
): void {
  const { p, weights, fused } = scratch;
  const decay = softmaxStep(cores.exponential, state, scores, p);
  if (values === null) {
    addRows(cores.core, head, state, part, decay, p);
    return;
  }
  for (let g = 0; g < valueGroups(head); g++) {
    if (cores.exponential.isKnown) {
      addKnownGroup(fused, head, state, part, decay.low, g, p.low, weights.low, values);
    } else {
      addPackedGroup(cores, head, state, part, decay, g, scratch);
    }
  }
}
