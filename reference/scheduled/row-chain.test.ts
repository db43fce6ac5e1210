// Tests of row-chain.ts: sums of known numbers are those of mma.ts down to the smallest, and the
// ends of open ones are what the header says.
import { describe, expect, it } from 'vitest';
import { elementFromF64, elementRound, exponentOf } from '../format.js';
import { dotModel, f32TowardZero, tensorDot } from '../mma.js';
import { type Draw, draws } from '../simulated/draw.js';
import { zeroExponent } from './code-chain.js';
import {
  addRowProducts,
  alignmentsOf,
  type RowCore,
  rowChain,
  type WeightRange,
} from './row-chain.js';

const cores = (['sm_80', 'sm_90'] as const).flatMap((architecture) =>
  (['fp16', 'bf16'] as const).map((type) => ({
    architecture,
    type,
    core: dotModel(architecture, type === 'bf16' ? 'bf16' : 'f16'),
  })),
);

describe('the alignment of a word', () => {
  it('is its exponent, at least that of the smallest normal number, and none for zero', () => {
    for (const [type, least] of [
      ['fp16', -14],
      ['bf16', -126],
    ] as const) {
      const align = alignmentsOf(type);
      const at = (x: number) => align[elementFromF64(type, x)];
      expect([at(0), at(-0)]).toEqual([zeroExponent, zeroExponent]);
      expect([at(1), at(-1.5), at(0.75)]).toEqual([0, 0, -1]);
      expect([at(2 ** least), at(2 ** (least - 3)), at(1.5 * 2 ** (least + 1))]).toEqual([
        least,
        least,
        least + 1,
      ]);
    }
  });
});

/** Numbers of a type: zeros, any sign, exponents of a window that may lie at the smallest. */
function numbers(draw: Draw, type: 'fp16' | 'bf16', length: number): Float64Array {
  const [least, most] = type === 'fp16' ? [-25, 12] : [-70, 40];
  const from = least + draw.below(most - least);
  const spread = 1 + draw.below(12);
  return Float64Array.from({ length }, () =>
    draw.below(5) === 0 ? 0 : elementRound(type, draw.normal() * 2 ** (from - draw.below(spread))),
  );
}

const wordsOf = (type: 'fp16' | 'bf16', x: Float64Array) =>
  Uint16Array.from(x, (value) => elementFromF64(type, value));

describe.each(cores)('scores of $type rows on $architecture', ({ type, core }) => {
  it('are the chains of mma.ts, at the smallest exponents too', () => {
    const align = alignmentsOf(type);
    for (let seed = 0; seed < 400; seed++) {
      const draw = draws(seed);
      const length = 1 + draw.below(40);
      const row = numbers(draw, type, 50);
      const q = numbers(draw, type, 50);
      // What cancels leaves a sum of 0 for the next fused sum.
      const channels = Int32Array.from({ length }, () => draw.below(50));
      const qAlign = Int32Array.from(wordsOf(type, q), (word) => align[word]);
      const found = rowChain(core, type, wordsOf(type, row), q, qAlign, channels);
      const [a, b] = [row, q].map((x) => Array.from(channels, (d) => x[d]));
      expect(found, `seed ${seed}`).toBe(tensorDot(core, 0, a, b));
    }
  });

  it('that cancel are 0, not -0, and what comes next starts from there', () => {
    const n = core.fusedProducts;
    const row = Float64Array.from({ length: n + 1 }, (_, i) => (i % 2 === 0 ? -1 : 1));
    const q = new Float64Array(n + 1).fill(1.5);
    const qAlign = new Int32Array(n + 1);
    const all = Int32Array.from(row, (_, i) => i);
    const score = (channels: Int32Array) =>
      rowChain(core, type, wordsOf(type, row), q, qAlign, channels);
    expect(score(all.subarray(0, n))).toBe(0);
    expect(score(all)).toBe(-1.5);
    expect(score(all.subarray(0, 0))).toBe(0);
  });

  it('that are too small for binary32 are 0, not -0', () => {
    if (type !== 'bf16') return; // no product of fp16 is

    const small = (x: number) => Float64Array.of(x);
    const align = alignmentsOf(type);
    const [row, q] = [small(-(2 ** -75)), small(2 ** -80)];
    const qAlign = Int32Array.from(wordsOf(type, q), (word) => align[word]);
    expect(rowChain(core, type, wordsOf(type, row), q, qAlign, Int32Array.of(0))).toBe(0);
  });
});

/** What lies between two numbers that are told apart by sign and magnitude. */
interface Ends {
  readonly low: number;
  readonly high: number;
}

const magnitudes = ({ low, high }: Ends) => ({
  least: low < 0 && high > 0 ? 0 : Math.min(Math.abs(low), Math.abs(high)),
  most: Math.max(Math.abs(low), Math.abs(high)),
});

/** The sum by the header: exponents of what is least and most, cuts by sign. */
function endsOf(core: RowCore, type: 'fp16' | 'bf16', v: readonly number[], w: Ends[], c: Ends) {
  const normal = type === 'fp16' ? -14 : -126;
  const exponent = (x: number, least: number) =>
    x === 0 ? Number.NEGATIVE_INFINITY : Math.max(exponentOf(x), least);
  const product = (t: number, x: number) => exponent(x, normal) + exponent(v[t], normal);
  const all = v.map((_, t) => t);
  const least = Math.max(
    exponent(magnitudes(c).least, -126),
    ...all.map((t) => product(t, magnitudes(w[t]).least)),
  );
  const most = Math.max(
    exponent(magnitudes(c).most, -126),
    ...all.map((t) => product(t, magnitudes(w[t]).most)),
  );
  const [fine, coarse] = [least, most].map(
    (e) => 2 ** (Math.max(e, core.exponentFloor) - core.fraction),
  );
  const cut = (x: number, unit: number) => Math.trunc(x / unit) * unit;
  const lower = (x: number) => cut(x, x >= 0 ? coarse : fine);
  const upper = (x: number) => cut(x, x >= 0 ? fine : coarse);
  const terms = all.map((t) => [w[t].low * v[t], w[t].high * v[t]].sort((a, b) => a - b));
  return {
    isKnown: fine === coarse,
    low: terms.reduce((sum, [a]) => sum + lower(a), lower(c.low)),
    high: terms.reduce((sum, [, b]) => sum + upper(b), upper(c.high)),
    magnitude: terms.flat().reduce((sum, x) => sum + Math.abs(x), 0),
  };
}

function weightRange(type: 'fp16' | 'bf16', w: readonly Ends[]): WeightRange {
  const normal = type === 'fp16' ? -14 : -126;
  const align = (x: number) => (x === 0 ? zeroExponent : Math.max(exponentOf(x), normal));
  return {
    low: Float64Array.from(w, ({ low }) => low),
    high: Float64Array.from(w, ({ high }) => high),
    lowAlign: Int32Array.from(w, (x) => align(magnitudes(x).least)),
    highAlign: Int32Array.from(w, (x) => align(magnitudes(x).most)),
  };
}

describe.each(cores)('outputs of $type rows on $architecture', ({ type, core }) => {
  const stride = 3;

  it.each(['all', 'some', 'no'] as const)(
    'of %s open weights have the ends of the header',
    (open) => {
      let known = 0;
      for (let seed = 0; seed < 400; seed++) {
        const draw = draws(seed);
        const count = core.fusedProducts;
        const v = numbers(draw, type, count + 2);
        const range = (x: number, isOpen: boolean): Ends => {
          const other = elementRound(type, x * (1 - draw.unit() * 2 ** -draw.below(9)));
          const [low, high] = [x, isOpen ? other : x].sort((a, b) => a - b);
          return { low, high };
        };
        const isOpen = () => open === 'all' || (open === 'some' && draw.below(4) === 0);
        const w = [...numbers(draw, type, count + 2)].map((x) => range(x, isOpen()));
        // As second terms of bf16 weights do, some lie around zero.
        if (type === 'bf16' && seed % 4 === 0) w[2] = { low: -w[2].high, high: w[2].high };
        for (const x of w) if (x.low > x.high) Object.assign(x, { low: x.high, high: x.low });
        const scale = 2 ** exponentOf(w[1].high * v[1] || 1) * 2 ** (4 - draw.below(9));
        const c = [draw.normal(), draw.normal()]
          .map((x) => Math.fround(x * scale))
          .sort((a, b) => a - b);
        if (seed % 3 === 0) c[0] = c[1];
        if (seed % 11 === 0) c.fill(0);
        const words = new Uint16Array((count + 2) * stride + 1);
        wordsOf(type, v).forEach((word, t) => {
          words[1 + t * stride] = word;
        });
        const [first, end] = [1, 1 + draw.below(count + 1)];
        const found = Float64Array.from(c);
        addRowProducts(core, type, words, 1, stride, weightRange(type, w), first, end, found);

        const own = [v, w].map((x) => x.slice(first, end)) as [Float64Array, Ends[]];
        const expected = endsOf(core, type, [...own[0]], own[1], { low: c[0], high: c[1] });
        const text = `seed ${seed}: ${JSON.stringify([c, [...found], expected])}`;
        if (expected.isKnown) {
          known++;
          expect([...found], text).toEqual([expected.low, expected.high].map(f32TowardZero));
          continue;
        }
        const slack =
          2 ** -44 * (expected.magnitude + Math.abs(expected.low) + Math.abs(expected.high));
        const [low, high] = [expected.low - slack, expected.high + slack].map(f32TowardZero);
        expect(found[0], text).toBeLessThanOrEqual(f32TowardZero(expected.low));
        expect(found[0], text).toBeGreaterThanOrEqual(low);
        expect(found[1], text).toBeGreaterThanOrEqual(f32TowardZero(expected.high));
        expect(found[1], text).toBeLessThanOrEqual(high);
      }
      expect(known).toBeGreaterThan(20);
      expect(known).toBeLessThan(400);
    },
  );
});
