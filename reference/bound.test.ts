// Tests of bound.ts: simulated right kernels stay within it, whatever distribution, format and
// length; wrong results do not; what is no number never does. bound.adversary.test.ts attacks
// the bound from within its contract, bound.cost.test.ts counts its work.
import { describe, expect, it } from 'vitest';
import { attend } from './attention.js';
import {
  type Arithmetic,
  admitsOutput,
  anyArithmetic,
  type BoundResult,
  boundL1,
} from './bound.js';
import { type HeadCache, readCache, referenceCache } from './cache.js';
import { f16FromF64, f16Round, f16Values, f64Array } from './format.js';
import { type Architecture, dotModel } from './mma.js';
import type { Problem } from './problem.js';
import type { Scheme } from './scheme.js';
import { type Attack, attack, type Kind, kinds } from './simulated/adversary.js';
import { boundUse } from './simulated/compare.js';
import { simulateDequantizing } from './simulated/dequantizing-kernel.js';
import { draws, normalF16 } from './simulated/draw.js';
import { type SimulatedRow, simulateFolded } from './simulated/folded-kernel.js';
import { faultyEx2 } from './simulated/scalar.js';

const size = 128;
const scale = 1 / Math.sqrt(size);
const channels = [0, 37, 64, 127];
const schemes = ([4, 2] as const).flatMap((bits) =>
  ([128, 64, 32] as const).map(
    (group): Scheme => ({ format: 'bitdecoding', kAxis: 'channel', bits, group }),
  ),
);
const lengths = [1, 127, 128, 129, 300]; // 0 has a test of its own
const architectures: readonly Architecture[] = ['sm_80', 'sm_90'];

/** What a kernel on `architecture` declares. */
function declared(architecture: Architecture, operands: Arithmetic['operands']): Arithmetic {
  const { fraction, fusedProducts } = dotModel(architecture);
  return { operands, fraction, fusedProducts, sumLanes: operands === 'folded' ? 8 : 4 };
}

const cases = schemes.flatMap((scheme) => lengths.map((tokens) => ({ scheme, tokens })));

/**
 * Time allows half of the cases for a kind and a kernel. A kind meets every scheme and every length
 * (an odd number of them, so that halves mix), and its neighbour among the kinds meets the rest.
 */
function isTurn(kind: Kind, i: number): boolean {
  return (kinds.indexOf(kind) + i) % 2 === 0;
}

/** Row `row` of `result` admits what a kernel computed for `channels`. */
function expectWithin(result: BoundResult, row: number, simulated: SimulatedRow, label: string) {
  const use = boundUse(result, row, simulated, channels);
  expect(use.output, `${label}: part of the output's radius`).toBeLessThanOrEqual(1);
  expect(use.lse, `${label}: part of the lse's bound`).toBeLessThanOrEqual(1);
  channels.forEach((d, i) => {
    const stored = f16Round(simulated.output[i]);
    const at = row * size + d;
    expect(admitsOutput(result, at, stored), `${label}: channel ${d} as fp16`).toBe(true);
    const error = Math.abs(stored - result.output[at]);
    // An output that rounds to Inf has no error; admitsOutput judges its class.
    if (Number.isFinite(stored)) expect(error).toBeLessThanOrEqual(result.outputBound[at]);
  });
}

function boundOf(a: Attack, arithmetic: Arithmetic): BoundResult {
  return boundL1(a.problem, a.softmaxScale, a.q, [a.head], arithmetic);
}

/** The only kind of case in which a folding kernel's row may be guarded. */
const widestChain = { kind: 'outlier channel', architecture: 'sm_80', bits: 2 };

describe.each(kinds)('a right kernel stays within the bound: %s', (kind) => {
  it('folded', () => {
    cases.forEach(({ scheme, tokens }, i) => {
      if (!isTurn(kind, i)) return;
      const draw = draws(100 + i);
      const a = attack(kind, scheme, tokens, draw);
      const architecture = architectures[(i >> 1) % 2];
      const result = boundOf(a, declared(architecture, 'folded'));
      const schedule = {
        model: dotModel(architecture),
        ex2: faultyEx2(draw, 0),
        warps: 1 + (i % 3),
        splits: 1 + ((i >> 2) % 2),
      };
      const row = simulateFolded(schedule, a.head, a.softmaxScale, f64Array(a.q), channels);
      if (result.guarded[0] === 1) {
        // Codes align 2^10 above their value, and with sm_80's 24 bits an outlier's lost bits can
        // move the weights by more than guardLimit. Nothing is claimed then, and nowhere else.
        expect({ kind, architecture, bits: scheme.bits }).toEqual(widestChain);
        expectGuarded(result, 0, result.output);
        return;
      }
      expectWithin(result, 0, row, `${scheme.bits} bits, group ${scheme.group}, ${tokens} tokens`);
    });
  });

  it('dequantizing, by one rounding or by two', () => {
    cases.forEach(({ scheme, tokens }, i) => {
      if (!isTurn(kind, i + 1)) return;
      const draw = draws(200 + i);
      const a = attack(kind, scheme, tokens, draw);
      // At full size the largest code times its scale leaves fp16, and the row is guarded (below).
      if (kind === 'near overflow') halveValues(a.head);
      const roundings = i % 4 < 2 ? 1 : 2;
      const architecture = architectures[i % 3 === 0 ? 0 : 1];
      const operands = roundings === 1 ? 'dequantized' : 'dequantized-twice';
      const result = boundOf(a, declared(architecture, operands));
      const schedule = {
        model: dotModel(architecture),
        ex2: faultyEx2(draw, 0),
        roundings,
        blockTokens: [16, 64, 128][i % 3],
        splits: 1 + (i % 4),
      } as const;
      const row = simulateDequantizing(schedule, a.head, a.softmaxScale, f64Array(a.q), channels);
      expect(result.guarded[0]).toBe(0);
      expectWithin(result, 0, row, `${scheme.bits} bits, group ${scheme.group}, ${tokens} tokens`);
    });
  });
});

function halveValues({ v }: HeadCache): void {
  for (const bits of [v.scales, v.zeros]) {
    bits.forEach((x, i) => {
      bits[i] = f16FromF64(f16Values[x] / 2);
    });
  }
}

/** Ragged requests, two queries to a KV head. */
const grouped: Problem = {
  tokens: [0, 1, 127, 128, 129, 300],
  queryHeads: 4,
  kvHeads: 2,
  headSize: size,
};

interface Inputs {
  readonly q: Uint16Array;
  readonly heads: HeadCache[];
}

function inputs(p: Problem, scheme: Scheme, seed: number): Inputs {
  const draw = draws(seed);
  const rows = p.tokens.reduce((a, b) => a + b) * p.kvHeads;
  const q = normalF16(draw, p.tokens.length * p.queryHeads * size);
  const k = normalF16(draw, rows * size);
  const built = referenceCache(p, scheme, k, normalF16(draw, rows * size));
  return { q, heads: readCache(p, scheme, built.cache, built.kResidual, built.vResidual) };
}

describe('several requests and heads', () => {
  const ragged = schemes.map((scheme, i) => ({ scheme, ...inputs(grouped, scheme, 300 + i) }));

  it.each(ragged)('every row has the bound of its own query and KV head: $scheme', (own) => {
    const { q, heads } = own;
    const known = boundL1(grouped, scale, q, heads, declared('sm_80', 'folded'));
    const any = boundL1(grouped, scale, q, heads, anyArithmetic);
    const schedule = { model: dotModel('sm_80'), ex2: faultyEx2(draws(1), 0), warps: 2, splits: 2 };
    for (let row = 4; row < 24; row++) {
      const query = f64Array(q.subarray(row * size, row * size + size));
      const simulated = simulateFolded(schedule, heads[row >> 1], scale, query, channels);
      expectWithin(known, row, simulated, `row ${row}, folded`);
      expectWithin(any, row, simulated, `row ${row}, any arithmetic`);
    }
  });

  it('the exact values are those of attend', () => {
    const { q, heads } = ragged[0];
    const exact = attend(grouped, scale, q, heads);
    const result = boundL1(grouped, scale, q, heads, anyArithmetic);
    result.output.forEach((x, i) => {
      expect(Math.abs(x - exact.output[i])).toBeLessThan(1e-13);
    });
    result.lse.forEach((x, i) => {
      if (i >= 4) expect(Math.abs(x - exact.lse[i])).toBeLessThan(1e-13);
    });
  });

  it('without tokens the output is 0, lse is -Inf, and nothing else will do', () => {
    const { q, heads } = ragged[0];
    const result = boundL1(grouped, scale, q, heads, anyArithmetic);
    const none = 4 * size;
    for (const x of [result.output, result.outputBound, result.outputRadius]) {
      expect(x.subarray(0, none).every((y) => Object.is(y, 0))).toBe(true);
    }
    expect([...result.lse.subarray(0, 4)]).toEqual(Array(4).fill(Number.NEGATIVE_INFINITY));
    expect([...result.lseBound.subarray(0, 4)]).toEqual([0, 0, 0, 0]);
    expect(admitsOutput(result, 5, 0)).toBe(true);
    for (const x of [2 ** -24, -(2 ** -24), Number.NaN]) {
      expect(admitsOutput(result, 5, x)).toBe(false);
    }
  });

  it('an undeclared arithmetic never has a smaller bound than a declared one', () => {
    const { q, heads } = ragged[3];
    const any = boundL1(grouped, scale, q, heads, anyArithmetic);
    for (const operands of ['folded', 'dequantized', 'dequantized-twice'] as const) {
      const own = boundL1(grouped, scale, q, heads, declared('sm_90', operands));
      expect(own.outputRadius.every((x, i) => x <= any.outputRadius[i])).toBe(true);
      expect(own.lseBound.every((x, i) => x <= any.lseBound[i])).toBe(true);
    }
  });
});

describe.each(kinds)('what a kernel does with its operands: %s', (kind) => {
  it('undeclared, has the largest bound of all that it may do', () => {
    const a = attack(kind, schemes[1], 131, draws(7));
    const any = boundOf(a, anyArithmetic);
    const own = (['folded', 'dequantized', 'dequantized-twice'] as const).map((operands) =>
      boundOf(a, { ...anyArithmetic, operands }),
    );
    for (const field of ['outputRadius', 'lseBound', 'guarded'] as const) {
      const most = any[field].map((_, i) => Math.max(...own.map((one) => one[field][i])));
      expect(any[field]).toEqual(most);
    }
  });

  it.each(['fp16', 'bf16'] as const)('does not matter for plain rows of %s', (type) => {
    const plain: Scheme = { format: 'fp16', kAxis: 'channel', bits: 16, group: 128 };
    const a = attack(kind, plain, 131, draws(8), { headSize: size, type });
    const known = boundOf(a, declared('sm_90', 'dequantized'));
    const { sumLanes } = declared('sm_90', 'dequantized');
    for (const operands of ['folded', 'any'] as const) {
      expect(boundOf(a, { ...declared('sm_90', operands), sumLanes })).toEqual(known);
    }
  });
});

/** Part of the elements of row `row` that a kernel may not have stored. */
function rejected(result: BoundResult, row: number, output: Float64Array): number {
  let count = 0;
  for (let at = row * size; at < (row + 1) * size; at++) {
    if (!admitsOutput(result, at, f16Round(output[at]))) count++;
  }
  return count / size;
}

/** Rows that have tokens. */
const filled = Array.from({ length: 20 }, (_, i) => i + 4);
/** Rows that have packed tokens. */
const packed = filled.filter((row) => grouped.tokens[row >> 2] >= 128);

describe.each(schemes)('a wrong kernel leaves the widest bound: $bits bits, group $group', (s) => {
  const { q, heads } = inputs(grouped, s, 400);
  const result = boundL1(grouped, scale, q, heads, anyArithmetic);
  const right = attend(grouped, scale, q, heads).output;
  const least = (rows: readonly number[], output: Float64Array) =>
    Math.min(...rows.map((row) => rejected(result, row, output)));

  it('the right output is admitted, everywhere', () => {
    expect(Math.max(...filled.map((row) => rejected(result, row, right)))).toBe(0);
  });

  it('zero output', () => {
    expect(least(filled, new Float64Array(right.length))).toBeGreaterThan(0.8);
  });

  it('query heads swapped within a KV head, and across', () => {
    for (const mask of [1, 2]) {
      const swapped = right.map((_, at) => right[at ^ (mask * size)]);
      // With one token all queries of a KV head have the same output: its value.
      const rows = mask === 1 ? filled.filter((row) => row >= 8) : filled;
      expect(least(rows, swapped)).toBeGreaterThan(0.8);
    }
  });

  it('KV heads swapped', () => {
    const swapped = attend(
      grouped,
      scale,
      q,
      heads.map((_, i) => heads[i ^ 1]),
    ).output;
    expect(least(filled, swapped)).toBeGreaterThan(0.8);
  });

  it('the last token dropped', () => {
    const cut = heads.map((head) =>
      head.tokens > head.packed ? { ...head, tokens: head.tokens - 1 } : head,
    );
    const short = attend(grouped, scale, q, cut);
    const rows = filled.filter((row) => grouped.tokens[row >> 2] % 128 !== 0);
    const seen = rows.filter((row) => {
      const weight = 1 - Math.exp(short.lse[row] - result.lse[row]);
      if (weight < 1 / 400) return false; // the token hardly counts in this row
      expect(rejected(result, row, short.output)).toBeGreaterThan(0.2);
      const error = Math.abs(short.lse[row] - result.lse[row]);
      expect(error).toBeGreaterThan(2 * result.lseBound[row]);
      return true;
    });
    expect(new Set(seen.map((row) => row >> 2))).toEqual(new Set(rows.map((row) => row >> 2)));
  });

  it.each(['k', 'v'] as const)("a neighbour's scale for every group of %s", (tensor) => {
    const moved = heads.map((head) => {
      const { scales } = head[tensor];
      const next = scales.map((_, i) => scales[(i + 1) % scales.length]);
      return { ...head, [tensor]: { ...head[tensor], scales: next } };
    });
    expect(least(packed, attend(grouped, scale, q, moved).output)).toBeGreaterThan(0.2);
  });
});

describe('what is no number', () => {
  const p: Problem = { tokens: [130], queryHeads: 4, kvHeads: 2, headSize: size };
  const ordinary = () => inputs(p, schemes[0], 500);
  const f16 = { inf: 0x7c00, nan: 0x7e00, minus: 0x8000 | 0x3c00 };
  const half = [0, 1]; // query rows of KV head 0, which the cases below spoil

  it('NaN and Inf are never within a finite bound', () => {
    const { q, heads } = ordinary();
    const result = boundL1(p, scale, q, heads, anyArithmetic);
    for (const x of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      for (let at = 0; at < 4 * size; at++) {
        expect(admitsOutput(result, at, x)).toBe(false);
        expect(Math.abs(x - result.output[at]) <= result.outputBound[at]).toBe(false);
      }
    }
  });

  const spoilers: Record<string, (head: HeadCache) => void> = {
    'NaN in a tail key': (head) => head.kResidual.fill(f16.nan, 7, 8),
    'Inf in a tail value': (head) => head.vResidual.fill(f16.inf, 7, 8),
    'an infinite K scale': (head) => head.k.scales.fill(f16.inf, 7, 8),
    'NaN as a K zero': (head) => head.k.zeros.fill(f16.nan, 7, 8),
    'NaN as a V scale': (head) => head.v.scales.fill(f16.nan, 7, 8),
    'an infinite V zero': (head) => head.v.zeros.fill(f16.inf, 7, 8),
    'a negative scale': (head) => head.v.scales.fill(f16.minus, 7, 8),
  };

  it.each(Object.keys(spoilers))('%s guards the rows of its KV head and no others', (name) => {
    const { q, heads } = ordinary();
    const before = boundL1(p, scale, q, heads, anyArithmetic);
    spoilers[name](heads[0]);
    const result = boundL1(p, scale, q, heads, anyArithmetic);
    expect([...result.guarded]).toEqual([1, 1, 0, 0]);
    for (const row of half) expectGuarded(result, row, before.output);
    expect(result.outputBound.subarray(2 * size)).toEqual(before.outputBound.subarray(2 * size));
  });

  it('a query that is no number guards its own row', () => {
    const { q, heads } = ordinary();
    const before = boundL1(p, scale, q, heads, anyArithmetic);
    for (const bits of [f16.nan, f16.inf]) {
      const result = boundL1(p, scale, q.with(size + 3, bits), heads, anyArithmetic);
      expect([...result.guarded]).toEqual([0, 1, 0, 0]);
      expectGuarded(result, 1, before.output);
    }
  });

  it('a scale beyond the range of the derivation guards every row', () => {
    const { q, heads } = ordinary();
    for (const wild of [2 ** 60, 2 ** -100, Number.NaN, Number.POSITIVE_INFINITY]) {
      const result = boundL1(p, wild, q, heads, anyArithmetic);
      expect([...result.guarded]).toEqual([1, 1, 1, 1]);
    }
  });

  it('codes that leave fp16 when dequantised guard dequantising kernels only', () => {
    const a = attack('near overflow' satisfies Kind, schemes[2], 129, draws(1));
    const guarded = (operands: Arithmetic['operands']) =>
      boundOf(a, declared('sm_90', operands)).guarded[0];
    expect(guarded('folded')).toBe(0);
    expect(guarded('dequantized-twice')).toBe(1);
    expect(guarded('any')).toBe(1);
  });
});

/** Even the right output is not admitted, and no comparison with a bound is true. */
function expectGuarded(result: BoundResult, row: number, right: Float64Array): void {
  expect(result.lseBound[row]).toBeNaN();
  for (let at = row * size; at < (row + 1) * size; at++) {
    expect(result.outputBound[at]).toBeNaN();
    expect(result.outputRadius[at]).toBeNaN();
    for (const x of [f16Round(right[at]), 0, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(admitsOutput(result, at, x)).toBe(false);
    }
  }
}
