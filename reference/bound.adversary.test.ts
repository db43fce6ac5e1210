// Attacks on bound.ts from within its contract: the inputs of simulated/adversary.ts, each with the
// exponentials that err most. They must not break the bound, and must use a sizeable part of it;
// kernels outside the contract must break it.
import { beforeAll, describe, expect, it } from 'vitest';
import { type Arithmetic, boundL1 } from './bound.js';
import { exp2 } from './exp.js';
import { f64Array } from './format.js';
import { type DotModel, dotModel } from './mma.js';
import type { Scheme } from './scheme.js';
import { attack, type Kind, kinds } from './simulated/adversary.js';
import { boundUse, type Use, useOf } from './simulated/compare.js';
import { simulateDequantizing } from './simulated/dequantizing-kernel.js';
import { type Draw, draws } from './simulated/draw.js';
import { simulateFolded } from './simulated/folded-kernel.js';
import { type Ex2, faultyEx2, fround } from './simulated/scalar.js';

type Operands = Exclude<Arithmetic['operands'], 'any'>;

const operandsOf: readonly Operands[] = ['folded', 'dequantized', 'dequantized-twice'];
const channels = [0, 19, 37, 55, 64, 90, 127];
const model = dotModel('sm_80'); // the widest arithmetic
const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 32 };

interface Kernel {
  readonly operands: Operands;
  readonly ex2: Ex2;
  readonly model: DotModel;
}

/** Part of its bound that a kernel uses on one input. */
function useOn(kernel: Kernel, kind: Kind, tokens: number, seed: number): Use {
  const a = attack(kind, scheme, tokens, draws(seed));
  const { operands } = kernel;
  const arithmetic: Arithmetic = {
    ...{ operands, fraction: 24, fusedProducts: 8 },
    sumLanes: operands === 'folded' ? 8 : 4,
  };
  const result = boundL1(a.problem, a.softmaxScale, a.q, [a.head], arithmetic);
  const q = f64Array(a.q);
  if (operands === 'folded') {
    const row = simulateFolded(
      { ...kernel, warps: 2, splits: 1 },
      a.head,
      a.softmaxScale,
      q,
      channels,
    );
    return boundUse(result, 0, row, channels);
  }
  const roundings = operands === 'dequantized' ? 1 : 2;
  const schedule = { ...kernel, roundings, blockTokens: 16, splits: 2 } as const;
  const row = simulateDequantizing(schedule, a.head, a.softmaxScale, q, channels);
  return boundUse(result, 0, row, channels);
}

/** Errs upwards for weights above 2^-4 and downwards below: tilts the output, not its scale. */
function tilted(draw: Draw): Ex2 {
  const [up, down] = [faultyEx2(draw, 1), faultyEx2(draw, -1)];
  return (x) => (x > -4 ? up(x) : down(x));
}

/** Every exponential that the contract allows and that errs most in some way. */
function exponentials(seed: number): readonly Ex2[] {
  const draw = draws(seed);
  return [faultyEx2(draw, 1), faultyEx2(draw, -1), tilted(draw)];
}

// Dequantising values near the end of fp16 overflows: bound.test.ts has that row guarded.
const kindsFor = (operands: Operands) =>
  kinds.filter((kind) => operands === 'folded' || kind !== 'near overflow');

/** The largest uses over all kinds, lengths and exponentials. */
function worst(operands: Operands): Use & { readonly finite: boolean } {
  let [output, lse] = [0, 0];
  for (const kind of kindsFor(operands)) {
    for (const [i, tokens] of [5, 129, 161].entries()) {
      for (const ex2 of exponentials(i)) {
        const use = useOn({ operands, ex2, model }, kind, tokens, 10 + i);
        output = Math.max(output, use.output);
        lse = Math.max(lse, use.lse);
      }
    }
  }
  return { output, lse, finite: Number.isFinite(output + lse) };
}

describe.each(operandsOf)('attacks on a kernel with operands %s', (operands) => {
  let use = { output: 0, lse: 0, finite: false };
  beforeAll(() => {
    use = worst(operands);
  });

  it('never break the bound', () => {
    expect(use.finite).toBe(true);
    expect(use.output).toBeLessThanOrEqual(1);
    expect(use.lse).toBeLessThanOrEqual(1);
  });

  it('use at least a third of it, for the output and for lse', () => {
    expect(use.output).toBeGreaterThan(1 / 3);
    expect(use.lse).toBeGreaterThan(1 / 3);
  });
});

describe.each(operandsOf)('a kernel outside the contract breaks the bound: %s', (operands) => {
  const right: Kernel = { operands, ex2: faultyEx2(draws(1), 0), model };
  const most = (kernel: Kernel, kind: Kind) => useOn(kernel, kind, 259, 3);

  it('the same kernel keeps it when it keeps the contract', () => {
    for (const kind of ['ordinary', 'one-sided', 'sharp'] as const) {
      const { output, lse } = most(right, kind);
      expect(Math.max(output, lse)).toBeLessThanOrEqual(1);
    }
  });

  it('accumulators in fp16', () => {
    const narrow = dotModel('sm_80', 'f16', 'f16');
    expect(most({ ...right, model: narrow }, 'one-sided').output).toBeGreaterThan(1);
    expect(most({ ...right, model: narrow }, 'one-sided').lse).toBeGreaterThan(1);
  });

  it('exponentials that are off by 2^-9', () => {
    const coarse: Ex2 = (x) => (x === 0 ? 1 : fround(exp2(x) * (1 + 2 ** -9)));
    expect(most({ ...right, ex2: coarse }, 'ordinary').lse).toBeGreaterThan(1);
  });

  it('exponentials to base e', () => {
    const natural: Ex2 = (x) => fround(Math.exp(x));
    expect(most({ ...right, ex2: natural }, 'ordinary').output).toBeGreaterThan(1);
  });
});

describe('the part of a bound that an error uses', () => {
  it('is the quotient, and what is no number uses all of it', () => {
    expect(useOf(3, 1, 4)).toBe(0.5);
    expect(useOf(1, 1, 0)).toBe(0);
    expect(useOf(1, 2, 0)).toBe(Number.POSITIVE_INFINITY);
    expect(useOf(Number.NaN, 1, 4)).toBe(Number.POSITIVE_INFINITY);
    expect(useOf(2, 1, Number.NaN)).toBe(Number.POSITIVE_INFINITY);
    expect(useOf(Number.POSITIVE_INFINITY, 1, 4)).toBe(Number.POSITIVE_INFINITY);
  });
});
