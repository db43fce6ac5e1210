// Tests of code-sums.ts: ends are reached where the exponent of a cut is known, and are what the
// header says where it is open.
import { describe, expect, it } from 'vitest';
import type { HeadCache } from '../cache.js';
import { exponentOf, f16Round } from '../format.js';
import { type DotModel, dotModel, f32TowardZero, tensorDot } from '../mma.js';
import { type Draw, draws } from '../simulated/draw.js';
import { codeAlignment, zeroExponent } from './code-chain.js';
import { addCodes, type TokenWeights } from './code-sums.js';

const headSize = 4;
const records = 2;
/** What addCodes counts in: 2^-24, the least of fp16. */
const unit = 2 ** -24;

interface Sample {
  readonly codes: Uint8Array;
  readonly weights: TokenWeights;
  readonly o: { low: Float64Array; high: Float64Array };
  readonly count: number;
}

/** Weights of fp16, low[t] <= high[t]; spread: binades that they lie in; isOpen: which differ. */
function sample(draw: Draw, count: number, spread: number, isOpen: (t: number) => boolean): Sample {
  const codes = Uint8Array.from({ length: records * 128 * headSize }, () =>
    draw.below(3) === 0 ? draw.below(16) : 0,
  );
  const low = Float64Array.from({ length: 128 }, () =>
    draw.below(5) === 0 ? 0 : f16Round((1 + draw.unit()) * 2 ** -draw.below(spread)),
  );
  const high = low.map((x, t) => (isOpen(t) ? f16Round(x * (1 + draw.unit()) + 2 ** -20) : x));
  const align = (x: Float64Array) => Int32Array.from(x, codeAlignment);
  const order = new Int32Array(128);
  const weights = { low, high, lowAlign: align(low), highAlign: align(high), order };
  const sums = Float64Array.from({ length: headSize }, () =>
    draw.below(4) === 0 ? 0 : Math.fround(draw.unit() * 2 ** (18 - draw.below(spread))),
  );
  return { codes, weights, o: { low: sums, high: sums.slice() }, count };
}

/** Channels [1, 3) of the second record. */
function added({ codes, weights, o, count }: Sample, model: DotModel) {
  const found = { low: o.low.slice(), high: o.high.slice() };
  const head = { headSize, v: { codes } } as unknown as HeadCache;
  const part = { first: 128, end: 128 + count, isTail: false };
  addCodes(model, head, part, weights, 1, 3, found);
  return found;
}

const column = ({ codes, count }: Sample, d: number) =>
  Array.from({ length: count }, (_, t) => codes[(128 + t) * headSize + d]);

/** Sum of a chain that starts at c and takes the weights x, as mma.ts has it. */
function chain(s: Sample, model: DotModel, d: number, c: number, x: Float64Array): number {
  const operands = column(s, d).map((code) => code * unit);
  return tensorDot(model, c * unit, operands, x, s.count) / unit;
}

/** The header's ends of one fused sum of tokens [from, to). */
function endsOf(
  s: Sample,
  model: DotModel,
  d: number,
  from: number,
  to: number,
  a: number,
  b: number,
) {
  const { low, high, lowAlign, highAlign } = s.weights;
  const codes = column(s, d);
  const tokens = codes.map((_, t) => t).filter((t) => t >= from && t < to && codes[t] !== 0);
  const aligned = (align: Int32Array) => Math.max(zeroExponent, ...tokens.map((t) => align[t]));
  if (aligned(highAlign) === zeroExponent) return [a, b];
  const exponent = (c: number, align: Int32Array) =>
    Math.max(c === 0 ? zeroExponent : exponentOf(c), aligned(align));
  const [least, most] = [exponent(a, lowAlign), exponent(b, highAlign)];
  const cut = (c: number, x: Float64Array, e: number) => {
    const units = 2 ** (model.fraction - e);
    const terms = tokens.map((t) => Math.trunc(codes[t] * x[t] * units));
    const sum = terms.reduce((all, term) => all + term, Math.trunc(c * units));
    return f32TowardZero(sum / units);
  };
  const all = tokens.reduce((sum, t) => sum + codes[t] * high[t], b);
  const upper = least === most ? cut(b, high, least) : f32TowardZero(all * (1 + 2 ** -48));
  return [cut(a, low, most), upper];
}

describe.each([dotModel('sm_80'), dotModel('sm_90')])('with F = $fraction', (model) => {
  const counts = [1, 7, model.fusedProducts, 40, 128];

  it('known weights on a known sum are the chain of mma.ts, in its channels alone', () => {
    for (let seed = 0; seed < 100; seed++) {
      const s = sample(draws(seed), counts[seed % 5], 1 + (seed % 20), () => false);
      const found = added(s, model);
      for (const d of [1, 2]) {
        expect(found.low[d]).toBe(chain(s, model, d, s.o.low[d], s.weights.low));
        expect(found.high[d]).toBe(found.low[d]);
      }
      for (const d of [0, 3])
        expect([found.low[d], found.high[d]]).toEqual([s.o.low[d], s.o.low[d]]);
    }
  });

  it('known weights on a sum of two ends of one exponent reach both', () => {
    for (let seed = 0; seed < 100; seed++) {
      const s = sample(draws(seed), counts[seed % 5], 1 + (seed % 20), () => false);
      s.o.low.set(s.o.low.map((x) => (x === 0 ? 2 ** 9 : 2 ** exponentOf(x))));
      s.o.high.set(s.o.low.map((x) => Math.fround(1.9375 * x)));
      // A sum that passes a power of two from one end alone has two exponents afterwards.
      const { weights } = s;
      for (const x of [weights.low, weights.high]) x.set(x.map((w) => w * 2 ** -7));
      for (const x of [weights.lowAlign, weights.highAlign])
        x.set(x.map((e) => (e === zeroExponent ? e : e - 7)));
      const found = added(s, model);
      for (const d of [1, 2]) {
        const ends = [s.o.low[d], s.o.high[d]].map((c) => chain(s, model, d, c, weights.low));
        if (exponentOf(ends[0]) === exponentOf(ends[1]))
          expect([found.low[d], found.high[d]]).toEqual(ends);
        expect(found.low[d]).toBeLessThanOrEqual(ends[0]);
        expect(found.high[d]).toBeGreaterThanOrEqual(ends[1]);
      }
    }
  });

  it.each([
    ['all weights', () => true],
    ['one weight in twenty', (t: number) => t % 20 === 0],
    ['no weight', () => false],
  ] as const)('%s open on open sums give the ends of the header', (_, isOpen) => {
    for (let seed = 0; seed < 150; seed++) {
      const draw = draws(seed);
      const count = Math.min(counts[seed % 5], model.fusedProducts); // of one fused sum
      const s = sample(draw, count, 1 + (seed % 16), isOpen);
      s.o.high.set(
        s.o.low.map((x) => Math.fround(x * (1 + draw.unit() * 2 ** (3 - draw.below(9))))),
      );
      if (seed % 7 === 0) s.o.low.fill(0);
      // A weight may be known and its field not.
      for (let t = 0; t < count; t++) s.weights.lowAlign[t] -= seed % 3 === 0 ? 1 : 0;
      const found = added(s, model);
      for (const d of [1, 2]) {
        const expected = endsOf(s, model, d, 0, count, s.o.low[d], s.o.high[d]);
        expect([found.low[d], found.high[d]], `seed ${seed}`).toEqual(expected);
      }
      expect([found.low[3], found.high[3]]).toEqual([s.o.low[3], s.o.high[3]]);
    }
  });

  it('a part of open weights is its fused sums in turn', () => {
    for (let seed = 0; seed < 60; seed++) {
      const s = sample(draws(seed), counts[3 + (seed % 2)], 1 + (seed % 12), (t) => t % 3 === 0);
      const found = added(s, model);
      for (const d of [1, 2]) {
        let [a, b] = [s.o.low[d], s.o.high[d]];
        for (let from = 0; from < s.count; from += model.fusedProducts) {
          [a, b] = endsOf(s, model, d, from, Math.min(from + model.fusedProducts, s.count), a, b);
        }
        expect([found.low[d], found.high[d]], `seed ${seed}`).toEqual([a, b]);
      }
    }
  });
});
