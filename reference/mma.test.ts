// Tests of mma.ts: vectors made by another model, the rules one at a time, and that the vectors
// tell one architecture from the other.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { f16FromF64, f16Values } from './format.js';
import {
  type Architecture,
  type DotModel,
  dotModel,
  f32TowardZero,
  f64FromBf16,
  fusedSum,
  type OperandFormat,
  tensorDot,
} from './mma.js';
import { draws } from './simulated/draw.js';

const { vectors } = JSON.parse(
  readFileSync(new URL('mma-sim-vectors.json', import.meta.url), 'utf8'),
) as { vectors: string[] };

const view = new DataView(new ArrayBuffer(4));
const f32FromBits = (bits: number) => {
  view.setUint32(0, bits);
  return view.getFloat32(0);
};

interface Vector {
  model: DotModel;
  a: number[];
  b: number[];
  c: number;
  d: number;
}

function parse(line: string, force?: Architecture): Vector {
  const [architecture, operands, accumulator, c, d, a, b] = line.split(' ');
  const decode = (hex: string) =>
    (hex.match(/.{4}/g) ?? []).map((h) => {
      const bits = Number.parseInt(h, 16);
      return operands === 'f16' ? f16Values[bits] : f64FromBf16(bits);
    });
  const scalar = (hex: string) => {
    const bits = Number.parseInt(hex, 16);
    return accumulator === 'f16' ? f16Values[bits] : f32FromBits(bits);
  };
  const model = dotModel(
    force ?? (architecture as Architecture),
    operands as OperandFormat,
    accumulator as 'f16' | 'f32',
  );
  return { model, a: decode(a), b: decode(b), c: scalar(c), d: scalar(d) };
}

const matches = ({ model, a, b, c, d }: Vector) => Object.is(tensorDot(model, c, a, b), d);

describe('against MMA-Sim', () => {
  it('gives the same bits on all its vectors', () => {
    expect(vectors.length).toBe(112);
    expect(vectors.filter((line) => !matches(parse(line)))).toEqual([]);
  });

  it('would be noticed if it were the model of another architecture', () => {
    const own = vectors.filter((line) => line.startsWith('sm_90'));
    const wrong = own.filter((line) => !matches(parse(line, 'sm_80')));
    expect(wrong.length).toBeGreaterThan(3);
  });
});

describe('the rules, one at a time', () => {
  const sm90 = dotModel('sm_90');
  const sm80 = dotModel('sm_80');
  const ones = new Array(16).fill(1);

  it('aligns the accumulator with the products: small products vanish beside it', () => {
    const tiny = ones.map(() => 2 ** -14);
    // 16 * 2^-14 = 2^-10, but each product lies below 2^(13 - 25) and is dropped.
    expect(tensorDot(sm90, 2 ** 13, ones, tiny)).toBe(2 ** 13);
    expect(tensorDot(sm90, 2 ** 10, ones, tiny)).toBe(2 ** 10 + 2 ** -10);
  });

  it('splits k16 into two groups on sm_80 and none on sm_90', () => {
    // 2^24 + 1 + 1: one group keeps both ones, two groups round toward zero after the first.
    const a = new Array(16).fill(0);
    const b = new Array(16).fill(1);
    a[0] = b[0] = 2 ** 12;
    a[1] = a[8] = 1;
    expect(tensorDot(sm90, 0, a, b)).toBe(2 ** 24 + 2);
    expect(tensorDot(sm80, 0, a, b)).toBe(2 ** 24);
  });

  it('does not normalise a product before alignment', () => {
    // 1.75 * 1.75 = 3.06 aligns at exponent 0, so a term of 2^-25 survives on sm_90.
    const a = [1.75, 2 ** -12];
    const b = [1.75, 2 ** -13];
    const exact = 1.75 ** 2 + 2 ** -25;
    expect(fusedSum(sm90, 0, a, b, 0, 2)).toBe(f32TowardZero(exact));
    expect(fusedSum(sm90, -(1.75 ** 2), a, b, 0, 2)).toBe(0); // c has exponent 1: quantum 2^-24
    expect(fusedSum(sm90, 0, [...a, -1.75], [...b, 1.75], 0, 3)).toBe(2 ** -25);
  });

  it('aligns a subnormal operand at exponent -14, so a code times a query loses low bits', () => {
    const code = 2 ** -24; // the code 1 as a subnormal binary16
    expect(fusedSum(sm90, 0, [code, code], [1024, 2 ** -15], 0, 2)).toBe(2 ** -14);
    expect(fusedSum(sm90, 0, [code, code], [1024, 2 ** -5], 0, 2)).toBe(2 ** -14 + 2 ** -29);
  });

  it('ignores the exponent of a product with zero', () => {
    expect(fusedSum(sm90, 0, [0, 2 ** -20], [65504, 2 ** -20], 0, 2)).toBe(2 ** -40);
  });

  it('rounds toward zero to f32 and to nearest even to f16', () => {
    const f16Out = dotModel('sm_90', 'f16', 'f16');
    const b = [1, 2 ** -11, 2 ** -13];
    expect(fusedSum(f16Out, 0, [1, 1, 1], b, 0, 3)).toBe(1 + 2 ** -10);
    expect(fusedSum(f16Out, 0, [1, 1, 0], b, 0, 3)).toBe(1);
    expect(fusedSum(sm90, 0, [-1, -(2 ** -12)], [1, 2 ** -12], 0, 2)).toBe(-1);
  });

  it('gives +0 for a sum of nothing, of -0 and of what underflows', () => {
    const f16Out = dotModel('sm_90', 'f16', 'f16');
    expect(fusedSum(sm90, -0, [-0], [1], 0, 1)).toBe(0);
    expect(fusedSum(f16Out, 0, [-(2 ** -20)], [2 ** -20], 0, 1)).toBe(0);
  });

  it('treats Inf and NaN as IEEE addition does', () => {
    const inf = Number.POSITIVE_INFINITY;
    expect(fusedSum(sm90, 1, [inf, 1], [1, 1], 0, 2)).toBe(inf);
    expect(fusedSum(sm90, -inf, [inf], [1], 0, 1)).toBeNaN();
    expect(fusedSum(sm90, 0, [inf], [0], 0, 1)).toBeNaN();
    expect(fusedSum(sm90, Number.NaN, [1], [1], 0, 1)).toBeNaN();
  });

  it('overflows to Inf although it rounds toward zero', () => {
    const bf16 = dotModel('sm_90', 'bf16');
    expect(fusedSum(bf16, 0, [2 ** 127, 2 ** 127], [1, 1], 0, 2)).toBe(Number.POSITIVE_INFINITY);
    expect(f32TowardZero(2 ** 128 - 2 ** 80)).toBe((2 - 2 ** -23) * 2 ** 127);
  });

  it('does not depend on the order inside a group', () => {
    const draw = draws(4);
    for (let i = 0; i < 500; i++) {
      const a = ones.map(() => f16Values[f16FromF64(draw.normal() * 2 ** draw.below(8))]);
      const b = ones.map(() => f16Values[f16FromF64(draw.normal() * 2 ** -draw.below(20))]);
      const c = Math.fround(draw.normal());
      const turned = tensorDot(sm90, c, [...a].reverse(), [...b].reverse());
      expect(turned).toBe(tensorDot(sm90, c, a, b));
    }
  });
});

describe('f32TowardZero', () => {
  it('never exceeds its argument in magnitude and loses less than one ulp', () => {
    const draw = draws(9);
    for (let i = 0; i < 20000; i++) {
      const x = (draw.unit() - 0.5) * 2 ** (draw.below(270) - 150);
      const y = f32TowardZero(x);
      const ulp = Math.max(2 ** (Math.floor(Math.log2(Math.abs(x))) - 23), 2 ** -149);
      expect(Math.abs(y)).toBeLessThanOrEqual(Math.abs(x));
      expect(Math.abs(x - y)).toBeLessThan(ulp);
    }
  });
});

describe('a model', () => {
  it('is of fp16 operands unless it is said', () => {
    const shape = { fraction: 25, fusedProducts: 16, accumulator: 'f32' };
    expect(dotModel('sm_90')).toEqual({ ...shape, exponentFloor: -133, exponentMin: -14 });
    expect(dotModel('sm_90', 'bf16').exponentMin).toBe(-126);
  });

  it('aligns at its floor where the accumulator is zero, and not at a normal number', () => {
    // Eight products of 2^-152 are the smallest binary32.
    const tiny = Array(8).fill(2 ** -76);
    expect(fusedSum(dotModel('sm_90', 'bf16'), 0, tiny, tiny, 0, 8)).toBe(2 ** -149);
    expect(Object.is(fusedSum(dotModel('sm_90'), -0, [0], [1], 0, 1), 0)).toBe(true);
  });
});
