// Tests of bound-l2.ts that take a minute: whatever the exponentials of a kernel do within their
// error, it stays in the range, and a search for their worst directions comes close to its ends.
import { describe, expect, it } from 'vitest';
import { ex2Error } from './arithmetic.js';
import { exp2 } from './exp.js';
import type { ElementType } from './format.js';
import { dotModel } from './mma.js';
import { ex2High, ex2Low } from './scheduled/interval.js';
import type { Scheme } from './scheme.js';
import { type Attack, attack, type Kind, kinds } from './simulated/adversary.js';
import { draws } from './simulated/draw.js';
import {
  channels,
  declared,
  lengths,
  outside,
  rangeOf,
  schemes,
  simulate,
} from './simulated/ranges.js';
import { type Ex2, faultyEx2 } from './simulated/scalar.js';

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
