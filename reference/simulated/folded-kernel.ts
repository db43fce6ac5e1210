/**
 * A decode kernel that folds scales into the other operand, simulated for one query row.
 *
 * It does what native/kernels/decode.cu describes: codes as fp16 subnormals, q' and P' in fp16 with
 * powers of two, records dealt to warps, a running maximum for each warp, merges of warps and
 * splits. It was written from that description for the tests of bound.ts and is slow and plain.
 */
import type { HeadCache } from '../cache.js';
import {
  elementRound,
  elementValues,
  exponentOf,
  f16Round,
  f16Values,
  powerOfTwo,
} from '../format.js';
import { type DotModel, tensorDot } from '../mma.js';
import { fmaF32 } from '../number-type.js';
import { channelGroup } from '../scheme.js';
import { type Ex2, fround } from './scalar.js';

export interface Schedule {
  readonly model: DotModel;
  readonly ex2: Ex2;
  readonly warps: number;
  readonly splits: number;
}

/** Result of one query row; output only for the channels asked for, before the fp16 store. */
export interface SimulatedRow {
  readonly output: Float64Array;
  readonly lse: number;
}

interface State {
  max: number;
  /** eight partial sums, of tokens t mod 8 */
  sum: Float64Array;
  /** (groups, 8) */
  zeroSum: Float64Array;
  /** (groups) */
  top: Float64Array;
  unit: number[];
  /** (channels), in units 2^(24 - unit) */
  o: Float64Array;
}

const emptyMax = -(2 ** 100);
const clamp = (x: number, low: number, high: number) => Math.min(Math.max(x, low), high);

/** log2 of the weight of a code's field in its word, by column of the packed matrix. */
function fieldWeight(bits: number, column: number): number {
  if (bits === 8) return 0;
  const upper = (column >> 3) & 1;
  return bits === 4 ? 4 * upper : 4 * ((column >> 4) & 1) + 2 * upper;
}

/** Eight lanes, added as a warp's shuffles do it. */
function laneSum(x: Float64Array): number {
  const sums = [1, 2, 4].reduce((y, step) => y.map((z, i) => fround(z + y[i ^ step])), [...x]);
  return sums[0];
}

const maxOf = (x: ArrayLike<number>) =>
  Array.prototype.reduce.call(x, (m, y) => Math.max(m as number, Math.abs(y)), 0) as number;

class Simulation {
  private readonly qHat: Float64Array;
  private readonly exponent: number;
  private readonly up: number;
  private readonly k2: number;
  /** channels of V that share parameters */
  private readonly group: number;
  private readonly groups: number;
  /** tensor core for rows of the problem's type */
  private readonly plain: DotModel;

  constructor(
    private readonly head: HeadCache,
    private readonly schedule: Schedule,
    scale: number,
    private readonly q: Float64Array,
    private readonly channels: readonly number[],
  ) {
    this.k2 = fround(fround(scale) * fround(Math.LOG2E));
    const isBf16 = head.type === 'bf16';
    this.exponent = isBf16
      ? clamp(exponentOf(maxOf(q)), -60, 60)
      : clamp(exponentOf(maxOf(q)), -24, 15);
    // An fp16 row is only scaled up; a bf16 row is brought to 2^14 from either side.
    this.up = this.exponent < 14 || isBf16 ? 14 - this.exponent : 0;
    this.qHat = q.map((x) => f16Round(x * powerOfTwo(this.up)));
    this.group = channelGroup(head.scheme, head.headSize);
    this.groups = head.headSize / this.group;
    this.plain = isBf16 ? { ...schedule.model, exponentMin: -126 } : schedule.model;
  }

  /** The same with K per token: s (codes q^) + z (sum of q^), group after group of channels. */
  private perTokenScores(record: number): Float64Array {
    const { head, qHat, group, groups } = this;
    const { headSize, k } = head;
    const { bits } = head.scheme;
    const { model } = this.schedule;
    const weights = Array.from({ length: headSize }, (_, d) => fieldWeight(bits, d));
    const operand = weights.map((w, d) => f16Round(qHat[d] * powerOfTwo(-w)));
    const factor = fround(this.k2 * powerOfTwo(-this.up));
    return Float64Array.from({ length: 128 }, (_, t) => {
      const token = record * 128 + t;
      let score = 0;
      for (let g = 0; g < groups; g++) {
        const channels = [g * group, (g + 1) * group] as const;
        const codes = weights
          .map((w, d) => k.codes[token * headSize + d] * powerOfTwo(w - 24))
          .slice(...channels);
        const sum = tensorDot(model, 0, codes, operand.slice(...channels));
        const ones = codes.map(() => 1);
        const all = tensorDot(model, 0, ones, qHat.slice(...channels));
        const at = token * groups + g;
        const zero = fround(fround(all * 2 ** -24) * f16Values[k.zeros[at]]);
        const own = fmaF32(sum, f16Values[k.scales[at]], zero);
        score = g === 0 ? own : fround(score + own);
      }
      return fround(score * fround(factor * 2 ** 24));
    });
  }

  /** Base-2 exponents of the 128 tokens of record `record`. */
  private recordScores(record: number): Float64Array {
    if (this.head.scheme.kAxis === 'token') return this.perTokenScores(record);
    const { head, qHat, k2, exponent } = this;
    const { headSize } = head;
    const { group, bits } = head.scheme;
    const scores = new Float64Array(128);
    const weights = Array.from({ length: headSize }, (_, d) => fieldWeight(bits, d));
    for (let first = record * 128; first < record * 128 + 128; first += group) {
      const at = (first / group) * headSize;
      const scales = Array.from({ length: headSize }, (_, d) => f16Values[head.k.scales[at + d]]);
      const zeros = Array.from({ length: headSize }, (_, d) => f16Values[head.k.zeros[at + d]]);
      const e = clamp(exponentOf(maxOf(scales)), -24, 15);
      // q^ reaches 2^14, or more where an fp16 row was not scaled up.
      const m = powerOfTwo(-Math.max(exponent + this.up - 14, 0) - e);
      const folded = scales.map((s, d) =>
        f16Round(f16Round(qHat[d] * s * m) * powerOfTwo(-weights[d])),
      );
      const zero = tensorDot(this.schedule.model, 0, zeros, qHat);
      const zeroPart = fround(zero * fround(k2 * powerOfTwo(-this.up)));
      const factor = fround(k2 * powerOfTwo(exponent) * powerOfTwo(10 + e));
      for (let t = first; t < first + group; t++) {
        const codes = weights.map((w, d) => head.k.codes[t * headSize + d] * powerOfTwo(w - 24));
        const sum = tensorDot(this.schedule.model, 0, codes, folded);
        scores[t - record * 128] = fmaF32(sum, factor, zeroPart);
      }
    }
    return scores;
  }

  private tailScores(): Float64Array {
    const { head, k2 } = this;
    const { headSize, tokens, packed } = head;
    const values = elementValues(head.type);
    const [query, up] = head.type === 'bf16' ? [this.q, 0] : [this.qHat, this.up];
    return Float64Array.from({ length: tokens - packed }, (_, t) => {
      const key = Array.from(
        head.kResidual.subarray(t * headSize, (t + 1) * headSize),
        (bits) => values[bits],
      );
      const sum = tensorDot(this.plain, 0, key, query);
      return fround(sum * fround(k2 * powerOfTwo(-up)));
    });
  }

  /** Scores to weights in place; returns the decay of everything summed before. */
  private softmaxStep(state: State, scores: Float64Array): number {
    const { ex2 } = this.schedule;
    const max = scores.reduce((m, s) => Math.max(m, s), state.max);
    const decay = ex2(fround(state.max - max));
    state.max = max;
    for (let i = 0; i < 8; i++) state.sum[i] = fround(state.sum[i] * decay);
    scores.forEach((s, t) => {
      scores[t] = ex2(fround(s - max));
    });
    const weight = (t: number) => scores[t] ?? 0;
    for (let t = 0; t < scores.length; t += 16) {
      for (let i = t; i < t + 8; i++) {
        state.sum[i % 8] = fround(state.sum[i % 8] + fround(weight(i) + weight(i + 8)));
      }
    }
    return decay;
  }

  private changeUnit(state: State, g: number, unit: number, decay: number): void {
    const factor = fround(decay * powerOfTwo(unit - state.unit[g]));
    state.unit[g] = unit;
    this.channels.forEach((d, i) => {
      if (Math.floor(d / this.group) === g) state.o[i] = fround(state.o[i] * factor);
    });
  }

  private addRecord(state: State, p: Float64Array, decay: number, record: number): void {
    const { head, group, groups, channels } = this;
    const { headSize, v } = head;
    const { bits } = head.scheme;
    for (let g = 0; g < groups; g++) {
      const parameter = (t: number) => (record * 128 + t) * groups + g;
      const w = p.map((x, t) => fround(x * f16Values[v.scales[parameter(t)]]));
      for (let i = 0; i < 8; i++) {
        state.zeroSum[g * 8 + i] = fround(state.zeroSum[g * 8 + i] * decay);
      }
      p.forEach((x, t) => {
        const at = g * 8 + (t % 8);
        state.zeroSum[at] = fmaF32(x, f16Values[v.zeros[parameter(t)]], state.zeroSum[at]);
      });
      state.top[g] = Math.max(maxOf(w), fround(state.top[g] * decay));
      const unit = clamp(14 - exponentOf(state.top[g]), -2, 100);
      this.changeUnit(state, g, unit, decay);
      const weights = Array.from({ length: 128 }, (_, t) => fieldWeight(bits, t));
      const operand = weights.map((f, t) => f16Round(fround(w[t] * powerOfTwo(unit - f))));
      channels.forEach((d, i) => {
        if (Math.floor(d / group) !== g) return;
        const codes = weights.map(
          (f, t) => v.codes[(record * 128 + t) * headSize + d] * powerOfTwo(f - 24),
        );
        state.o[i] = tensorDot(this.schedule.model, state.o[i], codes, operand);
      });
    }
  }

  private addTail(state: State, p: Float64Array, decay: number): void {
    const { head, groups, channels } = this;
    state.zeroSum.forEach((z, i) => {
      state.zeroSum[i] = fround(z * decay);
    });
    for (let g = 0; g < groups; g++) this.changeUnit(state, g, 39, decay);
    const scaled = Array.from(p, (x) => fround(x * 2 ** 15));
    const terms = [scaled.map((x) => elementRound(head.type, x))];
    if (head.type === 'bf16') {
      terms.push(scaled.map((x, t) => elementRound('bf16', fround(x - terms[0][t]))));
    }
    const of = elementValues(head.type);
    channels.forEach((d, i) => {
      const values = scaled.map((_, t) => of[head.vResidual[t * head.headSize + d]]);
      for (let t = 0; t < values.length; t += 16) {
        const step = values.slice(t, t + 16);
        for (const term of terms) {
          state.o[i] = tensorDot(this.plain, state.o[i], step, term.slice(t, t + 16));
        }
      }
    });
  }

  private emptyState(): State {
    return {
      max: emptyMax,
      sum: new Float64Array(8),
      zeroSum: new Float64Array(8 * this.groups),
      top: new Float64Array(this.groups),
      unit: new Array(this.groups).fill(100),
      o: new Float64Array(this.channels.length),
    };
  }

  /** States of the warps of one split that saw a token. */
  private splitStates(split: number): State[] {
    const { warps, splits } = this.schedule;
    const all = this.head.packed / 128;
    const first = Math.floor((all * split) / splits);
    const end = Math.floor((all * (split + 1)) / splits);
    const tail = split + 1 === splits && this.head.tokens > this.head.packed ? 1 : 0;
    const states = Array.from({ length: Math.min(end - first + tail, warps) }, () =>
      this.emptyState(),
    );
    for (let record = first; record < end; record++) {
      const state = states[(record - first) % warps];
      const p = this.recordScores(record);
      this.addRecord(state, p, this.softmaxStep(state, p), record);
    }
    if (tail) {
      const state = states[(end - first) % warps];
      const p = this.tailScores();
      this.addTail(state, p, this.softmaxStep(state, p));
    }
    return states;
  }

  /** Merges states into (maximum, sum, outputs), in order. */
  private mergeWarps(states: State[]) {
    const max = states.reduce((m, s) => Math.max(m, s.max), emptyMax);
    let sum = 0;
    const o = new Float64Array(this.channels.length);
    for (const state of states) {
      const factor = this.schedule.ex2(fround(state.max - max));
      sum = fround(sum + fround(factor * laneSum(state.sum)));
      this.channels.forEach((d, i) => {
        const g = Math.floor(d / this.group);
        const zero = laneSum(state.zeroSum.subarray(g * 8, g * 8 + 8));
        const real = fmaF32(state.o[i], powerOfTwo(24 - state.unit[g]), zero);
        o[i] = fround(o[i] + fround(factor * real));
      });
    }
    return { max, sum, o };
  }

  run(): SimulatedRow {
    const { splits, ex2 } = this.schedule;
    const parts = Array.from({ length: splits }, (_, s) => this.mergeWarps(this.splitStates(s)));
    const max = parts.reduce((m, s) => Math.max(m, s.max), emptyMax);
    let sum = 0;
    const o = new Float64Array(this.channels.length);
    for (const part of parts) {
      const factor = ex2(fround(part.max - max));
      sum = fmaF32(factor, part.sum, sum);
      for (let i = 0; i < o.length; i++) o[i] = fmaF32(factor, part.o[i], o[i]);
    }
    const logSum = fround(Math.log2(sum)) * (1 + 2 ** -23); // one ulp off
    const lse = fround(fround(Math.LN2) * fround(max + logSum));
    return { output: o.map((x) => fround(x / sum)), lse };
  }
}

/** q: values, (headSize); channels: the outputs that are wanted. */
export function simulateFolded(
  schedule: Schedule,
  head: HeadCache,
  scale: number,
  q: Float64Array,
  channels: readonly number[],
): SimulatedRow {
  return new Simulation(head, schedule, scale, q, channels).run();
}
