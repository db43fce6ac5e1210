// Tests of bound-l2.ts: a kernel of the declared schedule whose exponentials are known has the
// range of one value; kernels of another arithmetic or another schedule leave it; rows beside each
// other have the ranges that each has alone. bound-l2.adversary.test.ts attacks it from within its
// contract.
import { describe, expect, it } from 'vitest';
import type { Arithmetic } from './arithmetic.js';
import { boundL1 } from './bound.js';
import { boundL2, inRange, type OutputRange } from './bound-l2.js';
import { ex2Approx } from './ex2-approx.js';
import { exp2 } from './exp.js';
import { elementFromF64 } from './format.js';
import { dotModel, tensorDot } from './mma.js';
import type { Scheme } from './scheme.js';
import { type Attack, attack, kinds } from './simulated/adversary.js';
import { draws } from './simulated/draw.js';
import type { Schedule } from './simulated/folded-kernel.js';
import {
  channels,
  declared,
  lengths,
  outside,
  rangeOf,
  schemes,
  simulate,
} from './simulated/ranges.js';
import { faultyEx2 } from './simulated/scalar.js';

describe('exponentials of a unit that is known bit for bit leave nothing open', () => {
  const named = (warps: number): Arithmetic => ({
    ...declared('sm_90', warps),
    schedule: { warps: [[32768, warps]], exponential: 'sm_90' },
  });
  const flushed = 2 ** -64;

  it.each(['fp16', 'bf16'] as const)('the range is what the kernel computes, %s', (type) => {
    let judged = 0;
    schemes.forEach((scheme, i) => {
      const kind = kinds[i % kinds.length];
      const a = attack(kind, scheme, lengths[i % 4], draws(200 + i), { headSize: 128, type });
      const [warps, splits] = [1 + (i % 3), 1 + (i % 2)];
      const range = rangeOf(a, named(warps), splits);
      if (range === null) return;
      judged++;
      const row = simulate(a, { model: dotModel('sm_90'), ex2: ex2Approx, warps, splits });
      for (const [j, d] of channels.entries()) {
        expect(range.high[d] - range.low[d]).toBeLessThanOrEqual(
          2 * flushed + 2 ** -51 * Math.abs(range.low[d]),
        );
        expect(row.output[j]).toBeGreaterThanOrEqual(range.low[d]);
        expect(row.output[j]).toBeLessThanOrEqual(range.high[d]);
      }
      expect(outside(range, row)).toBe(0);
    });
    expect(judged).toBeGreaterThan(schemes.length / 2);
  });

  it('and another unit within the same error leaves it', () => {
    const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 };
    const a = attack('ordinary', scheme, 520, draws(3));
    const range = rangeOf(a, named(2), 1);
    const ex2 = faultyEx2(draws(4), 0);
    const row = simulate(a, { model: dotModel('sm_90'), ex2, warps: 2, splits: 1 });
    const left = channels.filter((d, i) => {
      return !(row.output[i] >= (range?.low[d] ?? 0) && row.output[i] <= (range?.high[d] ?? 0));
    });
    expect(left.length).toBeGreaterThan(0);
    const open = rangeOf(a, declared('sm_90', 2), 1);
    expect(open && outside(open, row)).toBe(0);
  });
});
describe('a kernel of another arithmetic or schedule leaves the range', () => {
  const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 32 };
  const right = { model: dotModel('sm_90'), ex2: faultyEx2(draws(1), 0), warps: 2, splits: 1 };
  const unrounded = (schedule: Schedule) => {
    const a = attack('ordinary', scheme, 900, draws(3));
    const range = rangeOf(a, declared('sm_90', 2), 1);
    const row = simulate(a, schedule);
    return channels.filter((d, i) => {
      return !(row.output[i] >= (range?.low[d] ?? 0) && row.output[i] <= (range?.high[d] ?? 0));
    }).length;
  };

  it('the right one does not', () => {
    expect(unrounded(right)).toBe(0);
  });

  it.each<[string, Partial<Schedule>]>([
    ['accumulators in fp16', { model: dotModel('sm_90', 'f16', 'f16') }],
    ['exponentials off by 2^-18', { ex2: (x) => Math.fround(exp2(x) * (1 + 2 ** -18 * x)) }],
    ['exponentials to base e', { ex2: (x) => Math.fround(Math.exp(x)) }],
    ['records dealt to three warps', { warps: 3 }],
    ['one split more', { splits: 2 }],
    ['the tensor core of sm_80', { model: dotModel('sm_80') }],
  ])('%s', (_, change) => {
    expect(unrounded({ ...right, ...change })).toBeGreaterThan(0);
  });
});

describe('where there is no range', () => {
  const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 };
  const of = (a: Attack, arithmetic: Arithmetic, splits = 1) => {
    const l1 = boundL1(a.problem, a.softmaxScale, a.q, [a.head], arithmetic);
    return boundL2(a.problem, a.softmaxScale, a.q, [a.head], arithmetic, splits, l1);
  };

  it('a kernel without a schedule, or with none for such records, has none', () => {
    const a = attack('ordinary', scheme, 130, draws(1));
    const { schedule, ...rest } = declared('sm_90', 1);
    expect(schedule).toBeDefined();
    expect(of(a, rest)).toBeNull();
    expect(of(a, { ...rest, schedule: { warps: [[4096, 1]] } })).toBeNull();
    expect(of(a, { ...declared('sm_90', 1), operands: 'dequantized' })).toBeNull();
  });

  it('a guarded row has NaN, which nothing is in', () => {
    const a = attack('ordinary', scheme, 130, draws(1));
    a.q[3] = 0x7c00;
    const range = of(a, declared('sm_90', 1));
    expect(range?.low.every(Number.isNaN)).toBe(true);
    expect(range?.lseHigh.every(Number.isNaN)).toBe(true);
    for (const x of [0, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(range && inRange(range, 0, x)).toBe(false);
    }
  });

  it('a row without tokens has exactly 0 and -Inf', () => {
    const range = of(attack('ordinary', scheme, 0, draws(1)), declared('sm_90', 1));
    expect(range?.low.every((x) => x === 0)).toBe(true);
    expect(range?.high.every((x) => x === 0)).toBe(true);
    expect(range?.lseLow[0]).toBe(Number.NEGATIVE_INFINITY);
    expect(range?.lseHigh[0]).toBe(Number.NEGATIVE_INFINITY);
  });

  it('a call without requests has none', () => {
    const a = attack('ordinary', scheme, 5, draws(1));
    const arithmetic = declared('sm_90', 1);
    const none = { ...a.problem, tokens: [] };
    const l1 = boundL1(a.problem, a.softmaxScale, a.q, [a.head], arithmetic);
    expect(boundL2(none, a.softmaxScale, new Uint16Array(0), [], arithmetic, 1, l1)).toBeNull();
  });

  it('NaN is in no range', () => {
    const range = of(attack('ordinary', scheme, 5, draws(1)), declared('sm_90', 1));
    expect(range && inRange(range, 0, Number.NaN)).toBe(false);
  });
});

describe('a range', () => {
  const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 };

  it('leaves 2^-64 for what powers of two may flush, also where everything is 0', () => {
    const a = attack('zero query', scheme, 1, draws(1));
    a.head.vResidual.fill(0);
    const range = rangeOf(a, declared('sm_90', 1), 1);
    // One token of score 0: its weight is 1 whatever the exponentials do, output 0 and lse 0.
    expect(range?.low.every((x) => x === -(2 ** -64))).toBe(true);
    expect(range?.high.every((x) => x === 2 ** -64)).toBe(true);
    expect(range?.lseLow[0]).toBeLessThanOrEqual(-(2 ** -64));
    expect(range?.lseHigh[0]).toBeGreaterThanOrEqual(2 ** -64);
    // Its ends are a binary32 each, before that.
    const beside = (x: number | undefined) => Math.abs((x ?? 0) - Math.fround(x ?? 0));
    expect(range?.lseLow.map(beside)).toEqual(Float64Array.of(2 ** -64));
    expect(range?.lseHigh.map(beside)).toEqual(Float64Array.of(2 ** -64));
    expect(Math.fround(range?.lseLow[0] ?? 0)).toBeGreaterThan(range?.lseLow[0] ?? 0);
    expect(Math.fround(range?.lseHigh[0] ?? 0)).toBeLessThan(range?.lseHigh[0] ?? 0);
  });

  it('holds what lies between the roundings of its ends, and nothing beside', () => {
    const [low, high] = [Float64Array.of(1 + 2 ** -14), Float64Array.of(2 + 2 ** -13)];
    const range: OutputRange = { type: 'fp16', low, high, lseLow: low, lseHigh: high };
    for (const x of [1, 1.5, 2]) expect(inRange(range, 0, x)).toBe(true);
    for (const x of [0, 1 - 2 ** -11, 2 + 2 ** -9, 3]) expect(inRange(range, 0, x)).toBe(false);
  });
});

describe('rows beside each other', () => {
  it.each(['fp16', 'bf16'] as const)('have the ranges that each has alone, %s', (type) => {
    const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 };
    const made = [7, 8, 9].map((n) =>
      attack(kinds[0], scheme, 300, draws(n), { headSize: 128, type }),
    );
    const [a] = made;
    const arithmetic = declared('sm_90', 3);
    const alone = made.map(({ q }) => rangeOf({ ...a, q }, arithmetic, 2));
    const q = Uint16Array.from(made.flatMap((one) => [...one.q]));
    const problem = { ...a.problem, queryHeads: made.length };
    const l1 = boundL1(problem, a.softmaxScale, q, [a.head], arithmetic);
    const all = boundL2(problem, a.softmaxScale, q, [a.head], arithmetic, 2, l1);
    for (const [row, own] of alone.entries()) {
      expect(own).not.toBeNull();
      const part = (x: Float64Array | undefined) => x?.subarray(128 * row, 128 * (row + 1));
      expect(part(all?.low)).toEqual(own?.low);
      expect(part(all?.high)).toEqual(own?.high);
      expect([all?.lseLow[row], all?.lseHigh[row]]).toEqual([own?.lseLow[0], own?.lseHigh[0]]);
    }
  });

  it('of several heads are those of their own head, and a guarded row is no other', () => {
    const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 };
    const made = [3, 4].map((n) =>
      attack(kinds[0], scheme, 140, draws(n), { headSize: 64, type: 'fp16' }),
    );
    const arithmetic = declared('sm_90', 2);
    const queries = made.flatMap(() => made.map(({ q }) => q)); // both with each head
    const alone = queries.map((q, row) => rangeOf({ ...made[row >> 1], q }, arithmetic, 1));
    const problem = { ...made[0].problem, tokens: [140, 140], queryHeads: 2 };
    const call = [problem, made[0].softmaxScale] as const;
    const q = Uint16Array.from(queries.flatMap((x) => [...x]));
    const heads = made.map(({ head }) => head);
    const l1 = boundL1(...call, q, heads, arithmetic);
    const guarded = Uint8Array.of(0, 1, 0, 1); // whatever the reason
    const found = boundL2(...call, q, heads, arithmetic, 1, { ...l1, guarded });
    for (const [row, own] of alone.entries()) {
      const part = (x: Float64Array | undefined) => x?.subarray(64 * row, 64 * (row + 1));
      const expected = guarded[row] ? new Float64Array(64).fill(Number.NaN) : own?.low;
      expect(part(found?.low)).toEqual(expected);
      expect(found?.lseLow[row]).toEqual(guarded[row] ? Number.NaN : own?.lseLow[0]);
    }
  });

  it('of a request without tokens are exactly 0, whatever the one before it has', () => {
    const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 };
    const shape = { headSize: 64, type: 'fp16' } as const;
    const [a, none] = [3, 0].map((tokens) => attack(kinds[0], scheme, tokens, draws(3), shape));
    const problem = { ...a.problem, tokens: [3, 0] };
    const q = Uint16Array.from([...a.q, ...none.q]);
    const call = [problem, a.softmaxScale, q, [a.head, none.head], declared('sm_90', 1)] as const;
    const found = boundL2(...call, 1, boundL1(...call));
    for (const x of [found?.low, found?.high]) {
      expect(x?.slice(0, 64).some((y) => y !== 0)).toBe(true);
      expect(x?.slice(64)).toEqual(new Float64Array(64));
    }
  });

  it.each([
    ['sm_90', 1],
    ['sm_80', 2],
  ] as const)('cut what lies below the floor of %s as it does', (architecture, unit) => {
    const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 };
    const a = attack(kinds[0], scheme, 1, draws(3), { headSize: 64, type: 'bf16' });
    // Two products of 2^-150, odd multiples of the last bit that the core keeps of them.
    const q = new Float64Array(64);
    const k = new Float64Array(64);
    q.set([11 * 2 ** -79, 7 * 2 ** -79]);
    k.set([23 * unit * 2 ** -79, 37 * unit * 2 ** -79]);
    const words = (x: Float64Array) => Uint16Array.from(x, (y) => elementFromF64('bf16', y));
    a.head.kResidual.set(words(k));
    // Only a scale that no bound is given for makes anything of them.
    const scale = 2 ** 127;
    const call = [a.problem, scale, words(q), [a.head], declared(architecture, 1)] as const;
    const found = boundL2(...call, 1, { ...boundL1(...call), guarded: Uint8Array.of(0) });
    const lse = tensorDot(dotModel(architecture, 'bf16'), 0, q, k) * scale;
    expect(lse).toBe(2 ** -22);
    expect(found?.lseLow[0]).toBeLessThan(lse);
    expect(found?.lseLow[0]).toBeGreaterThan(0);
    expect(found?.lseHigh[0]).toBeGreaterThan(lse);
    expect(found?.lseHigh[0]).toBeLessThan(2 * lse);
  });

  it('are ranges of the declared core: another fraction, or bf16 for fp16, gives others', () => {
    const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 };
    const a = attack(kinds[0], scheme, 300, draws(7), { headSize: 128, type: 'fp16' });
    const [hopper, ampere] = (['sm_90', 'sm_80'] as const).map((architecture) =>
      rangeOf(a, declared(architecture, 3), 2),
    );
    expect(hopper?.low).not.toEqual(ampere?.low);
  });
});
