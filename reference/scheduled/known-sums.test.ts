// Tests of known-sums.ts: what a warp carries is what a kernel computes in its own units, with the
// sums of mma.ts over fp16 weights and codes that are subnormal fp16 numbers.
import { describe, expect, it } from 'vitest';
import type { HeadCache } from '../cache.js';
import { exponentOf, f16FromF64, f16Round, f16Values } from '../format.js';
import { type DotModel, dotModel, tensorDot } from '../mma.js';
import { fmaF32 } from '../number-type.js';
import type { Scheme } from '../scheme.js';
import { type Draw, draws } from '../simulated/draw.js';
import { addKnownGroup, roundedWeight, unitOf } from './known-sums.js';
import { fieldWeight, type Part } from './schedule.js';
import { emptyWarp, partScratch, partTiles } from './warp-sums.js';

const { fround } = Math;
const headSize = 64;
const groups = 2;
const size = 32;

describe('the unit of P', () => {
  it('brings the largest weight to [2^14, 2^15), from 2^-2 to 2^100', () => {
    for (const [top, unit] of [
      [1, 14],
      [1.999, 14],
      [0.5, 15],
      [2, 13],
      [2 ** 16, -2],
      [2 ** 17, -2],
      [2 ** -86, 100],
      [2 ** -87, 100],
      [0, 100],
    ]) {
      expect(unitOf(top), `${top}`).toBe(unit);
    }
  });
});

it('a weight is rounded to fp16 where it is stored', () => {
  const draw = draws(1);
  for (const shift of [-8, -2, 0, 14, 96, 100]) {
    const least = 2 ** (-14 - shift);
    const some = Array.from({ length: 200 }, () => draw.unit() * least * 2 ** (3 - draw.below(14)));
    for (const x of [0, least, least * (1 - 2 ** -12), 1.5 * 2 ** (-24 - shift), ...some]) {
      expect(roundedWeight(x, shift), `${x}`).toBe(f16Round(x * 2 ** shift) * 2 ** -shift);
    }
  }
});

interface Step {
  readonly part: Part;
  readonly decay: number;
  readonly p: Float64Array;
}

/** Two parts of weights of a softmax, many of them small, some 0. */
function someSteps(draw: Draw): Step[] {
  return [0, 128].map((first) => {
    const count = 1 + draw.below(60);
    const p = Float64Array.from({ length: count }, () =>
      draw.below(6) === 0 ? 0 : fround(draw.unit() * 2 ** -draw.below(40)),
    );
    const decay = draw.below(3) === 0 ? 1 : fround(draw.unit());
    const part = { first, end: first + count, isTail: false };
    return { part, decay: first === 0 ? 0 : decay, p };
  });
}

function headOf(draw: Draw, bits: 2 | 4 | 8, steps: Step[]): HeadCache {
  const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits, group: size };
  const codes = new Uint8Array(256 * headSize);
  // Where the heaviest tokens have no codes, sums are small beside the top.
  const isLight = draw.below(2) === 0;
  for (let i = 0; i < codes.length; i++) codes[i] = draw.below(4) === 0 ? draw.below(2 ** bits) : 0;
  for (const { part, p } of steps) {
    p.forEach((x, t) => {
      const at = (part.first + t) * headSize;
      if (isLight && x > 2 ** -15) codes.fill(0, at, at + headSize);
    });
  }
  const scales = Uint16Array.from({ length: 256 * groups }, () =>
    f16FromF64((1 + draw.unit()) * 2 ** (4 - draw.below(10))),
  );
  // Nothing of the second part weighs anything in one of its groups.
  const empty = draw.below(2 * groups);
  if (empty < groups) for (let t = 128; t < 256; t++) scales[t * groups + empty] = 0;
  const zeros = Uint16Array.from({ length: 256 * groups }, () => f16FromF64(draw.normal()));
  const none = new Uint16Array(0);
  const v = { codes, scales, zeros };
  const rows = { kResidual: none, vResidual: none };
  return { scheme, headSize, tokens: 256, type: 'fp16', packed: 256, k: v, v, ...rows };
}

/** What a kernel has of one group after the steps: sums of zeros by lane, top, and o by channel. */
function kernelGroup(model: DotModel, head: HeadCache, steps: Step[], g: number) {
  const zero = Array<number>(8).fill(0);
  const o = Array<number>(size).fill(0);
  let top = 0;
  let unit = 100;
  for (const { part, decay, p } of steps) {
    const parameter = (words: Uint16Array, t: number) =>
      f16Values[words[(part.first + t) * groups + g]];
    for (let lane = 0; lane < 8; lane++) zero[lane] = fround(zero[lane] * decay);
    p.forEach((x, t) => {
      zero[t % 8] = fmaF32(x, parameter(head.v.zeros, t), zero[t % 8]);
    });
    const w = Array.from(p, (x, t) => fround(x * parameter(head.v.scales, t)));
    top = Math.max(fround(top * decay), ...w);
    const old = unit;
    unit = top === 0 ? 100 : Math.min(Math.max(14 - exponentOf(top), -2), 100);
    const fields = w.map((_, t) => fieldWeight(head.scheme.bits, t));
    const stored = w.map((x, t) => f16Round(x * 2 ** (unit - fields[t])));
    for (let d = 0; d < size; d++) {
      const words = w.map((_, t) => {
        const code = head.v.codes[(part.first + t) * headSize + g * size + d];
        return code * 2 ** (fields[t] - 24);
      });
      const carried = fround(o[d] * decay) * 2 ** (unit - old);
      o[d] = tensorDot(model, carried, words, stored);
    }
  }
  return { zero, top, o: o.map((x) => x * 2 ** (24 - unit)) };
}

describe.each([dotModel('sm_80'), dotModel('sm_90')])('a group with F = $fraction', (model) => {
  it.each([8, 4, 2] as const)('of %d bits is what a kernel has of it', (bits) => {
    for (let seed = 0; seed < 20; seed++) {
      const draw = draws(seed);
      const steps = someSteps(draw);
      const head = headOf(draw, bits, steps);
      const scratch = partScratch(model, headSize);
      const state = emptyWarp(head);
      for (const { part, decay, p } of steps) {
        const { values } = partTiles(scratch, head, part);
        const room = scratch.weights.low;
        for (let g = 0; g < groups; g++) {
          scratch.fused.sums.fill(7); // as scores leave them
          addKnownGroup(scratch.fused, head, state, part, decay, g, p, room, values!);
        }
      }
      for (let g = 0; g < groups; g++) {
        const { zero, top, o } = kernelGroup(model, head, steps, g);
        const own = (x: Float64Array, count: number) => [...x.slice(g * count, (g + 1) * count)];
        const text = `seed ${seed}, group ${g}`;
        expect(own(state.zero.low, 8), text).toEqual(zero);
        expect(state.top.low[g], text).toBe(top);
        expect(own(state.o.low, size), text).toEqual(o);
      }
      for (const { low, high } of [state.zero, state.top, state.o]) expect(high).toEqual(low);
    }
  });
});
