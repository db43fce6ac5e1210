// Tests of bound-l2.ts: what a folding kernel of the declared schedule computes lies in the range,
// whatever its exponentials do within their error; a search for the worst directions of them comes
// close to the ends; kernels of another arithmetic or another schedule leave the range.
import { describe, expect, it } from 'vitest';
import { type Arithmetic, ex2Error } from './arithmetic.js';
import { boundL1 } from './bound.js';
import { boundL2, inRange, type OutputRange } from './bound-l2.js';
import { ex2Approx } from './ex2-approx.js';
import { exp2 } from './exp.js';
import { type ElementType, elementRound, f64Array } from './format.js';
import { type Architecture, dotModel } from './mma.js';
import { ex2High, ex2Low } from './scheduled/interval.js';
import type { Scheme } from './scheme.js';
import { type Attack, attack, type Kind, kinds } from './simulated/adversary.js';
import { draws } from './simulated/draw.js';
import { type Schedule, simulateFolded } from './simulated/folded-kernel.js';
import { type Ex2, faultyEx2 } from './simulated/scalar.js';

const channels = [0, 37, 64, 127];

function declared(architecture: Architecture, warps: number): Arithmetic {
  const { fraction, fusedProducts } = dotModel(architecture);
  const schedule = { warps: [[32768, warps]] } as const;
  return { operands: 'folded', fraction, fusedProducts, sumLanes: 8, schedule };
}

/** The range of one query row; null: the row is guarded. */
function rangeOf(a: Attack, arithmetic: Arithmetic, splits: number): OutputRange | null {
  const l1 = boundL1(a.problem, a.softmaxScale, a.q, [a.head], arithmetic);
  if (l1.guarded[0] !== 0) return null;
  return boundL2(a.problem, a.softmaxScale, a.q, [a.head], arithmetic, splits, l1);
}

function simulate(a: Attack, schedule: Schedule, of: readonly number[] = channels) {
  const q = f64Array(a.q, undefined, a.head.type);
  return simulateFolded(schedule, a.head, a.softmaxScale, q, of);
}

/** Rounded values of `channels` that the range does not admit, and an lse outside of it. */
function outside(range: OutputRange, row: ReturnType<typeof simulate>): number {
  const wrong = channels.filter((d, i) => {
    return !inRange(range, d, elementRound(range.type, row.output[i]));
  });
  const lse = row.lse >= range.lseLow[0] && row.lse <= range.lseHigh[0];
  return wrong.length + (lse ? 0 : 1);
}

const schemes = (['channel', 'token'] as const).flatMap((kAxis) =>
  ([8, 4, 2] as const).flatMap((bits) =>
    ([128, 32] as const).map((group): Scheme => ({ format: 'bitdecoding', kAxis, bits, group })),
  ),
);
const lengths = [1, 130, 300, 520];

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

describe.each(['fp16', 'bf16'] as const)('a kernel that keeps its schedule, %s', (type) => {
  it.each(kinds)('stays in the range: %s', (kind) => {
    let judged = 0;
    schemes.forEach((scheme, i) => {
      const turn = i + kinds.indexOf(kind);
      const draw = draws(100 + turn);
      const a = attack(kind, scheme, lengths[turn % 4], draw, { headSize: 128, type });
      const architecture = turn % 3 === 0 ? 'sm_80' : 'sm_90';
      const [warps, splits] = [1 + (turn % 4), 1 + (turn % 2)];
      const range = rangeOf(a, declared(architecture, warps), splits);
      if (range === null) return;
      judged++;
      const ex2 = faultyEx2(draw, ([0, 1, -1] as const)[turn % 3]);
      const row = simulate(a, { model: dotModel(architecture), ex2, warps, splits });
      for (const [j, d] of channels.entries()) {
        expect(row.output[j]).toBeGreaterThanOrEqual(range.low[d]);
        expect(row.output[j]).toBeLessThanOrEqual(range.high[d]);
      }
      expect(outside(range, row)).toBe(0);
    });
    expect(judged).toBeGreaterThan(schemes.length / 2);
  });
});

/** ex2 whose n-th call errs upwards or downwards as far as the contract lets it. */
function directed(upwards: readonly boolean[]): { ex2: Ex2; reset: () => void } {
  let call = 0;
  return {
    ex2: (x) => (upwards[call++] ? ex2High(x) : ex2Low(x)),
    reset: () => {
      call = 0;
    },
  };
}

/** The largest output of channel d that a search over the directions of all exponentials finds. */
function worstCase(a: Attack, d: number, sign: 1 | -1, blocks: number): number {
  const model = dotModel('sm_90');
  const one = (upwards: readonly boolean[]) => {
    const { ex2, reset } = directed(upwards);
    reset();
    return sign * simulate(a, { model, ex2, warps: 1, splits: 1 }, [d]).output[0];
  };
  let calls = 0;
  const counting: Ex2 = (x) => {
    calls++;
    return ex2Low(x);
  };
  simulate(a, { model, ex2: counting, warps: 1, splits: 1 }, [d]);
  // Blocks of calls, halved: a direction that is good for a whole block is kept.
  let best: readonly boolean[] = Array.from({ length: calls }, () => false);
  let value = one(best);
  for (let size = calls; size >= calls / blocks; size /= 2) {
    for (let from = 0; from < calls; from += size) {
      for (const direction of [true, false]) {
        const tried = best.map((x, i) => (i >= from && i < from + size ? direction : x));
        const found = one(tried);
        if (found > value) [best, value] = [tried, found];
      }
    }
  }
  return sign * value;
}

describe('a search over the directions of every rounding that is open', () => {
  const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 };
  const searched: readonly [Kind, ElementType][] = [
    ['ordinary', 'fp16'],
    ['rising scores', 'fp16'],
    ['one-sided', 'fp16'],
    ['ordinary', 'bf16'],
  ];

  it.each(searched)('never leaves the range and uses a quarter of it: %s, %s', (kind, type) => {
    const a = attack(kind, scheme, 150, draws(3), { headSize: 128, type });
    const range = rangeOf(a, declared('sm_90', 1), 1);
    if (range === null) throw new Error('the row is guarded');
    for (const d of [0, 91]) {
      const [low, high] = [range.low[d], range.high[d]];
      const found = ([1, -1] as const).map((sign) => worstCase(a, d, sign, 32));
      expect(found[0]).toBeLessThanOrEqual(high);
      expect(found[1]).toBeGreaterThanOrEqual(low);
      expect((found[0] - found[1]) / (high - low)).toBeGreaterThan(1 / 4);
    }
  });

  it('the exponentials searched over are within the contract', () => {
    const draw = draws(9);
    for (let i = 0; i < 2000; i++) {
      const x = Math.fround(-126 * draw.unit() * draw.unit());
      for (const y of [ex2Low(x), ex2High(x)]) {
        expect(y).toBe(Math.fround(y));
        expect(Math.abs(y / exp2(x) - 1)).toBeLessThanOrEqual(ex2Error * (1 + 2 ** -20));
      }
    }
    expect([ex2Low(0), ex2High(0), ex2Low(-126.5), ex2High(-127)]).toEqual([1, 1, 0, 0]);
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

  it('are ranges of the declared core: another fraction, or bf16 for fp16, gives others', () => {
    const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 };
    const a = attack(kinds[0], scheme, 300, draws(7), { headSize: 128, type: 'fp16' });
    const [hopper, ampere] = (['sm_90', 'sm_80'] as const).map((architecture) =>
      rangeOf(a, declared(architecture, 3), 2),
    );
    expect(hopper?.low).not.toEqual(ampere?.low);
  });
});
