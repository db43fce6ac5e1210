// The float64 reference against the twin in 120 decimal digits: codes and parameters bit for bit,
// softmax and attention within 1e-13 relative.
import { all, create } from 'mathjs';
import { describe, expect, it } from 'vitest';
import { softmaxWeights } from '../attention.js';
import { plainRows } from '../attention-rows.js';
import { attendWith } from '../attention-with.js';
import { exp2, ln2, log2, log2e, tanh } from '../exp.js';
import type { HeadTensor } from '../formats/format-spec.js';
import { formats } from '../formats/index.js';
import { bf16, f16, f32, fmaF32, numberTypes } from '../number-type.js';
import { type Draw, draws } from '../simulated/draw.js';
import { bigAttention, bigSoftmax } from './attention.js';
import { type Big, type BigOf, binary16, binary32, exactly, roundTo } from './big.js';
import { bigQuantizers } from './quantize.js';

const math = create(all, { number: 'BigNumber', precision: 120 });
const big: BigOf = (text) => math.bignumber(text) as unknown as Big;
const of = (x: number) => exactly(big, x);

/** |found - expected| / scale */
function relative(found: number, expected: Big, scale: Big): number {
  return of(found).minus(expected).abs().div(scale).toNumber();
}

describe('the twin itself', () => {
  it('has the digits that it claims', () => {
    // 2^-80 = 5^80 / 10^80 has 56 significant digits.
    const shifted = of(2 ** -80).times(big((10n ** 80n).toString()));
    expect(shifted.comparedTo(big((5n ** 80n).toString()))).toBe(0);
    expect(of(-1.5).plus(of(1.25)).toString()).toBe('-0.25');
    expect(big('1').div(big('3')).toString()).toMatch(/^0\.3{120}$/);
  });

  it('rounds to binary formats as format.ts and Math.fround do', () => {
    const draw = draws(1);
    for (let i = 0; i < 1500; i++) {
      const x = draw.normal() * 2 ** (draw.below(44) - 28);
      expect(roundTo(big, binary16, of(x)) + 0).toBe(f16.round(x) + 0);
      expect(roundTo(big, binary32, of(x))).toBe(f32.round(x));
    }
    const bfloat = { significand: 8, exponentMin: -126, max: bf16.max };
    for (let i = 0; i < 300; i++) {
      const x = draw.normal() * 2 ** (draw.below(200) - 100);
      expect(roundTo(big, bfloat, of(x))).toBe(bf16.round(x));
    }
    expect(roundTo(big, binary16, of(65519))).toBe(65504);
    expect(roundTo(big, binary16, of(-65521))).toBe(Number.NEGATIVE_INFINITY);
  });
});

describe('quantisers', () => {
  /** Groups of every kind that has no degenerate step: random, far from zero, near ties, wide. */
  function group(draw: Draw, length: number, kind: number): number[] {
    const values = Array.from({ length }, () => {
      if (kind === 0) return draw.normal();
      if (kind === 1) return 40 + draw.normal();
      if (kind === 2) return (draw.below(31) - 15) / 2 + (draw.below(3) - 1) * 2 ** -8;
      return draw.normal() * 2 ** (draw.below(20) - 10);
    });
    return values.map((x) => f16.round(x));
  }

  for (const f of formats) {
    const twin = bigQuantizers[f.format];
    if (twin === undefined) continue;
    it(`${f.format}: one float64 operation and one rounding are the spec's step`, () => {
      const draw = draws(17);
      const length = f.format.startsWith('llama') || f.format === 'kivi' ? 32 : 64;
      for (const bits of f.bits) {
        for (let i = 0; i < 24; i++) {
          const x = group(draw, length, i % 4);
          const group32 = f.groups.includes(length) ? length : 'all';
          const t: HeadTensor = {
            ...{ tensor: 'v', tokens: 1, headSize: length, bits },
            ...{ group: group32, input: f.inputs[0] },
          };
          const codes = new Uint8Array(length);
          const found = f.quantizeGroup(t, Float64Array.from(x), codes);
          const expected = twin(big, x, bits);
          expect([...codes]).toEqual(expected.codes.map((code) => code & 255));
          expect(numberTypes[f.scaleType].decode(found.scale)).toBe(expected.scale);
          if (f.zeroType) {
            expect(numberTypes[f.zeroType].decode(found.zero) + 0).toBe(expected.zero + 0);
          }
        }
      }
    });
  }

  it('covers every format with derived integer codes', () => {
    const floats = formats.filter((f) => bigQuantizers[f.format] === undefined);
    expect(floats.map((f) => f.format)).toEqual([
      'fp8-e4m3-per-tensor',
      'fp8-e5m2-per-tensor',
      'fp8-e4m3-per-head',
      'fp8-e5m2-per-head',
      'nvfp4',
    ]);
    expect(Object.keys(bigQuantizers).length + floats.length).toBe(formats.length);
  });

  it('fmaF32 is the exact product and sum, rounded once', () => {
    const draw = draws(5);
    for (let i = 0; i < 500; i++) {
      const [a, b] = [f32.round(draw.normal()), f32.round(draw.normal())];
      const c = f32.round(draw.normal() * 2 ** -draw.below(60));
      const exact = of(a).times(of(b)).plus(of(c));
      expect(fmaF32(a, b, c)).toBe(roundTo(big, binary32, exact));
    }
  });
});

describe('functions', () => {
  it('exp2, log2 and tanh keep their stated errors', () => {
    const draw = draws(8);
    const ln = big('2').ln();
    for (let i = 0; i < 300; i++) {
      const x = draw.normal() * 20;
      const power = of(x).times(ln).exp();
      expect(relative(exp2(x), power, power)).toBeLessThan(2 ** -50);
      const y = Math.abs(draw.normal()) * 2 ** (draw.below(100) - 50);
      const logarithm = of(y).ln().div(ln);
      const limit = 2 ** -49 + 2 ** -52 * Math.abs(log2(y));
      expect(relative(log2(y), logarithm, big('1'))).toBeLessThan(limit);
      const z = draw.normal() * 2 ** (draw.below(30) - 25);
      const square = of(2 * z).exp();
      const expected = square.minus(big('1')).div(square.plus(big('1')));
      expect(relative(tanh(z), expected, expected.abs())).toBeLessThan(2 ** -48);
    }
  });
});

describe('softmax', () => {
  it('is within 1e-13 relative, weights and logarithm of the sum', () => {
    const draw = draws(2);
    for (const spread of [0, 1, 10, 40]) {
      const scores = Array.from({ length: 50 }, () => draw.normal() * spread);
      const expected = bigSoftmax(big, scores.map(of));
      const weights = Float64Array.from(scores, (s) => s * log2e);
      const { max, sum } = softmaxWeights(weights);
      expected.weights.forEach((w, j) => {
        expect(relative(weights[j] / sum, w, w)).toBeLessThan(1e-13);
      });
      const lse = ln2 * (max + log2(sum));
      expect(relative(lse, expected.lse, expected.lse.abs())).toBeLessThan(1e-13);
    }
  });
});

describe('attention', () => {
  const draw = draws(3);
  const normal = (count: number) => Array.from({ length: count }, () => draw.normal());

  /** Largest error of outputs, relative to sum w |v|, and of lse, relative to it or 1. */
  function worst(
    tokens: number,
    size: number,
    scale: number,
    o: { softcap?: number; sink?: number },
  ) {
    const q = normal(size);
    const k = Array.from({ length: tokens }, () => normal(size));
    const v = Array.from({ length: tokens }, () => normal(size));
    const p = { tokens: [tokens], queryHeads: 1, kvHeads: 1, headSize: size };
    const rows = plainRows(Float64Array.from(k.flat()), Float64Array.from(v.flat()), size);
    const found = attendWith(p, scale, Float64Array.from(q), [rows], {
      ...(o.softcap === undefined ? {} : { softcap: o.softcap }),
      ...(o.sink === undefined ? {} : { sinkLogits: [o.sink] }),
    });
    const expected = bigAttention(big, { q, k, v, scale: Math.fround(scale), ...o });
    const errors = expected.output.map((x, d) =>
      relative(found.output[d], x, expected.magnitude[d]),
    );
    const lseSize = Math.max(1, Math.abs(found.lse[0]));
    return Math.max(...errors, relative(found.lse[0], expected.lse, of(lseSize)));
  }

  it('is within 1e-13 relative: short and long, flat and peaked', () => {
    for (const [tokens, size] of [
      [1, 4],
      [7, 8],
      [150, 4],
    ]) {
      for (const scale of [0, 0.1, 1, 5])
        expect(worst(tokens, size, scale, {})).toBeLessThan(1e-13);
    }
  });

  it('is within 1e-13 relative with softcap and sink', () => {
    for (const softcap of [0.25, 2, 50]) expect(worst(20, 8, 1, { softcap })).toBeLessThan(1e-13);
    for (const sink of [-20, 0, 3, 60]) expect(worst(20, 8, 1, { sink })).toBeLessThan(1e-13);
    expect(worst(20, 8, 3, { softcap: 20, sink: 2 })).toBeLessThan(1e-13);
  });

  it('would see a relative error of 1e-12', () => {
    const expected = bigSoftmax(big, [of(1), of(2)]);
    const wrong = expected.weights[0].toNumber() * (1 + 1e-12);
    expect(relative(wrong, expected.weights[0], expected.weights[0])).toBeGreaterThan(1e-13);
  });
});
