// Tests of warp-sums.ts: the ends of the weights that it hands to code-sums.ts and row-chain.ts, by
// the header, for exponentials that are far more open than those of any unit.
import { describe, expect, it } from 'vitest';
import type { HeadCache } from '../cache.js';
import {
  type ElementType,
  elementFromF64,
  elementRound,
  elementValues,
  exponentOf,
  f16FromF64,
  f16Round,
  f16Values,
} from '../format.js';
import { type DotModel, dotModel, tensorDot } from '../mma.js';
import type { Scheme } from '../scheme.js';
import { type Draw, draws } from '../simulated/draw.js';
import { zeroExponent } from './code-chain.js';
import { addCodes } from './code-sums.js';
import { type Exponential, ex2, type Interval } from './interval.js';
import { addRowProducts } from './row-chain.js';
import { fieldWeight, type Part } from './schedule.js';
import { addPart, emptyMax, emptyWarp, partScratch, partTiles, valueGroups } from './warp-sums.js';

const { fround } = Math;
const models = [dotModel('sm_80'), dotModel('sm_90')];

/** Of integers: 1 at 0, 0 below -60, else within a factor of two of 2^x, a third of them open. */
function someExponential(seed: number, isOpen: boolean): Exponential {
  const at = (x: number): Interval => {
    if (x === 0) return { low: 1, high: 1 };
    if (x < -60) return { low: 0, high: 0 };
    const draw = draws(1000 * seed - x);
    const kind = draw.below(3);
    if (kind === 0) return { low: 2 ** x, high: 2 ** x };
    const low = fround(2 ** (x - 1) * (1 + draw.unit()));
    const high = isOpen && kind === 2 ? fround(low * (1 + draw.unit())) : low;
    return { low, high };
  };
  return { low: (x) => at(x).low, high: (x) => at(x).high, isKnown: false };
}

interface Taken {
  readonly part: Part;
  readonly scores: Float64Array;
}

const partOf = (first: number, scores: readonly number[]): Taken => ({
  part: { first, end: first + scores.length, isTail: false },
  scores: Float64Array.from(scores),
});

/** Two parts, the second with the larger maximum half of the time. */
function twoParts(draw: Draw, starts: readonly number[], counts: readonly number[]): Taken[] {
  return starts.map((first, i) => {
    const raise = i * draw.below(4);
    const scores = Array.from({ length: counts[i] }, () => raise - draw.below(45));
    scores[draw.below(counts[i])] = raise;
    return partOf(first, scores);
  });
}

function taken(model: DotModel, exponential: Exponential, head: HeadCache, parts: Taken[]) {
  const scratch = partScratch(model, head.headSize);
  const state = emptyWarp(head);
  for (const { part, scores } of parts) {
    const tiles = partTiles(scratch, head, part);
    addPart({ core: model, exponential }, head, state, part, tiles, scores, scratch);
  }
  return state;
}

/** What each part has to take: the decay before it and the weights of its tokens. */
function steps(exponential: Exponential, parts: Taken[]) {
  let max = emptyMax;
  return parts.map(({ part, scores }) => {
    const old = max;
    max = Math.max(max, ...scores);
    const p = Array.from(scores, (score) => ex2(exponential, fround(score - max)));
    return { part, decay: ex2(exponential, fround(old - max)), p };
  });
}

const openEnds = (length: number) => ({
  low: new Float64Array(length),
  high: new Float64Array(length),
});

/** x times a decay, ends of any sign. */
function decayed(decay: Interval, { low, high }: { low: Float64Array; high: Float64Array }): void {
  low.forEach((x, i) => {
    low[i] = Math.min(fround(decay.low * x), fround(decay.high * x));
  });
  high.forEach((x, i) => {
    high[i] = Math.max(fround(decay.low * x), fround(decay.high * x));
  });
}

const headSize = 64;

/** A head of two groups of V's channels whose heavy tokens may have no codes at all. */
function packedHead(draw: Draw, bits: 2 | 4 | 8, parts: Taken[], isLight: boolean): HeadCache {
  const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits, group: 32 };
  const codes = new Uint8Array(256 * headSize);
  for (const { part, scores } of parts) {
    scores.forEach((score, t) => {
      if (isLight && score > -15) return;
      for (let d = 0; d < headSize; d++) {
        const code = draw.below(8) === 0 ? draw.below(2 ** bits) : 0;
        codes[(part.first + t) * headSize + d] = code;
      }
    });
  }
  // Short significands leave weights that are the same in two units.
  const scales = Uint16Array.from({ length: 256 * 2 }, () =>
    f16FromF64((1 + draw.below(8) / 8) * 2 ** (3 - draw.below(7))),
  );
  // Nothing of the second part weighs anything in its first group.
  if (draw.below(3) === 0) for (let t = 128; t < 256; t++) scales[2 * t] = 0;
  const zeros = new Uint16Array(256 * 2);
  const k = { codes, scales, zeros };
  const none = new Uint16Array(0);
  const rows = { kResidual: none, vResidual: none };
  return { scheme, headSize, tokens: 256, type: 'fp16', packed: 256, k, v: k, ...rows };
}

/** P' of one token: every unit that is possible, and every end of the weight in it. */
function storedWeight(w: Interval, units: number[], field: number) {
  const stored = units.flatMap((unit) =>
    [w.low, w.high].map((x) => f16Round(x * 2 ** (unit - field)) * 2 ** (field - unit)),
  );
  const [low, high] = [Math.min(...stored), Math.max(...stored)];
  const align = (x: number, unit: number) =>
    x === 0 ? zeroExponent : Math.max(exponentOf(x * 2 ** (unit - field)), -14) + 10 - unit;
  const [lowAlign, highAlign] = [align(low, Math.max(...units)), align(high, Math.min(...units))];
  return { low, high, lowAlign, highAlign };
}

/** Top and o of one group by the header. */
function groupEnds(
  model: DotModel,
  exponential: Exponential,
  head: HeadCache,
  parts: Taken[],
  g: number,
) {
  let top: Interval = { low: 0, high: 0 };
  const o = openEnds(headSize);
  for (const { part, decay, p } of steps(exponential, parts)) {
    const w = p.map(({ low, high }, t) => {
      const scale = f16Values[head.v.scales[(part.first + t) * 2 + g]];
      return { low: fround(low * scale), high: fround(high * scale) };
    });
    top = {
      low: Math.max(fround(decay.low * top.low), ...w.map(({ low }) => low)),
      high: Math.max(fround(decay.high * top.high), ...w.map(({ high }) => high)),
    };
    const unit = (x: number) => Math.min(Math.max(14 - exponentOf(x), -2), 100);
    const units: number[] = [];
    for (let u = unit(top.high); u <= unit(top.low); u++) units.push(u);
    const all = w.map((x, t) => storedWeight(x, units, fieldWeight(head.scheme.bits, t)));
    decayed(decay, o);
    const weights = {
      low: Float64Array.from(all, ({ low }) => low),
      high: Float64Array.from(all, ({ high }) => high),
      lowAlign: Int32Array.from(all, ({ lowAlign }) => lowAlign),
      highAlign: Int32Array.from(all, ({ highAlign }) => highAlign),
      order: new Int32Array(all.length),
    };
    addCodes(model, head, part, weights, g * 32, (g + 1) * 32, o);
  }
  const own = (x: Float64Array) => Array.from(x.subarray(g * 32, (g + 1) * 32));
  return { top: [top.low, top.high], low: own(o.low), high: own(o.high) };
}

describe.each(models)('codes with F = $fraction', (model) => {
  it.each([8, 4, 2] as const)('of %d bits take weights between their ends', (bits) => {
    for (let seed = 0; seed < 24; seed++) {
      const draw = draws(seed);
      const parts = twoParts(draw, [0, 128], [1 + draw.below(40), 1 + draw.below(40)]);
      const head = packedHead(draw, bits, parts, seed % 2 === 0);
      const exponential = someExponential(seed, seed % 4 !== 3);
      const found = taken(model, exponential, head, parts);
      for (const g of [0, 1]) {
        const own = (x: Float64Array) => Array.from(x.subarray(g * 32, (g + 1) * 32));
        expect(
          {
            top: [found.top.low[g], found.top.high[g]],
            low: own(found.o.low),
            high: own(found.o.high),
          },
          `seed ${seed}, group ${g}`,
        ).toEqual(groupEnds(model, exponential, head, parts, g));
      }
    }
  });
});

const rowSize = 4;

/** Rows of a type, in parts of 64 tokens; every second one takes back what the one before gives. */
function plainHead(draw: Draw, type: ElementType): HeadCache {
  const scheme: Scheme = { format: 'fp16', kAxis: 'channel', bits: 16, group: 128 };
  const none = { codes: new Uint8Array(0), scales: new Uint16Array(0), zeros: new Uint16Array(0) };
  const rows = new Uint16Array(128 * rowSize);
  const spread = 1 + draw.below(14);
  for (let i = 0; i < rows.length; i++) {
    const x = draw.below(3) === 0 ? 0 : draw.normal() * 2 ** -draw.below(spread);
    const isBack = i % (2 * rowSize) >= rowSize && draw.below(2) === 0;
    rows[i] = isBack ? rows[i - rowSize] ^ 0x8000 : elementFromF64(type, x);
  }
  const tails = { kResidual: rows, vResidual: rows };
  return { scheme, headSize: rowSize, tokens: 128, type, packed: 0, k: none, v: none, ...tails };
}

/** The terms of P' by the header, in kernel units. */
function termsOf(type: ElementType, p: Interval): Interval[] {
  const round = (x: number) => elementRound(type, x);
  if (type === 'fp16') return [{ low: round(p.low * 2 ** 15), high: round(p.high * 2 ** 15) }];
  const first = { low: round(p.low), high: round(p.high) };
  const rest = (x: number, y: number) => round(fround(x - y));
  return [first, { low: rest(p.low, first.high), high: rest(p.high, first.low) }];
}

/** Ends of weights and by what they align at least and at most. */
function weightRange(type: ElementType, w: Interval[]) {
  const align = (x: number) =>
    x === 0 ? zeroExponent : Math.max(exponentOf(x), type === 'fp16' ? -14 : -126);
  const least = ({ low, high }: Interval) =>
    low <= 0 && high >= 0 ? 0 : Math.min(Math.abs(low), Math.abs(high));
  return {
    low: Float64Array.from(w, ({ low }) => low),
    high: Float64Array.from(w, ({ high }) => high),
    lowAlign: Int32Array.from(w, (x) => align(least(x))),
    highAlign: Int32Array.from(w, ({ low, high }) => align(Math.max(-low, high))),
  };
}

/** o by the header: of 16 tokens at a time the sums of each term in turn. */
function rowEnds(model: DotModel, exponential: Exponential, head: HeadCache, parts: Taken[]) {
  const { type, vResidual } = head;
  const toKernel = type === 'fp16' ? 2 ** 15 : 1;
  const n = model.fusedProducts;
  const o = openEnds(rowSize);
  for (const { part, decay, p } of steps(exponential, parts)) {
    decayed(decay, o);
    const all = p.map((x) => termsOf(type, x));
    const terms = all[0].map((_, i) =>
      weightRange(
        type,
        all.map((x) => x[i]),
      ),
    );
    for (let d = 0; d < rowSize; d++) {
      const ends = Float64Array.of(o.low[d] * toKernel, o.high[d] * toKernel);
      for (let sixteen = 0; sixteen < p.length; sixteen += 16) {
        for (const term of terms) {
          for (let t = sixteen; t < Math.min(sixteen + 16, p.length); t += n) {
            const base = part.first * rowSize + d;
            const end = Math.min(t + n, p.length);
            addRowProducts(model, type, vResidual, base, rowSize, term, t, end, ends);
          }
        }
      }
      o.low[d] = ends[0] / toKernel;
      o.high[d] = ends[1] / toKernel;
    }
  }
  return o;
}

const rowKinds = models.flatMap(({ fraction }) =>
  (['fp16', 'bf16'] as const).map((type) => {
    const model = dotModel(fraction === 25 ? 'sm_90' : 'sm_80', type === 'bf16' ? 'bf16' : 'f16');
    return { fraction, type, model };
  }),
);

describe.each(rowKinds)('rows of $type with F = $fraction', ({ type, model }) => {
  /** Neighbours often weigh the same. */
  const rowParts = (draw: Draw) => {
    const parts = twoParts(draw, [0, 64], [1 + draw.below(50), 1 + draw.below(50)]);
    for (const { scores } of parts) {
      for (let t = 1; t < scores.length; t++) if (draw.below(3) > 0) scores[t] = scores[t - 1];
    }
    return parts;
  };

  it('take the terms of weights between their ends', () => {
    for (let seed = 0; seed < 60; seed++) {
      const draw = draws(seed);
      const parts = rowParts(draw);
      const head = plainHead(draw, type);
      const exponential = someExponential(seed, seed % 4 !== 3);
      const { o } = taken(model, exponential, head, parts);
      expect(o, `seed ${seed}`).toEqual(rowEnds(model, exponential, head, parts));
    }
  });

  it('are chains of mma.ts where the weights are known', () => {
    for (let seed = 0; seed < 50; seed++) {
      const draw = draws(seed);
      const parts = rowParts(draw);
      const head = plainHead(draw, type);
      const exponential = someExponential(seed, false);
      const { o } = taken(model, exponential, head, parts);
      expect(o.high, `seed ${seed}`).toEqual(o.low);
      const unit = type === 'fp16' ? 2 ** 15 : 1;
      for (let d = 0; d < rowSize; d++) {
        let sum = 0;
        for (const { part, decay, p } of steps(exponential, parts)) {
          const terms = p.map((x) => termsOf(type, x).map(({ low }) => low));
          const row = (t: number) => head.vResidual[(part.first + t) * rowSize + d];
          const v = p.map((_, t) => elementValues(type)[row(t)]);
          sum = fround(decay.low * sum);
          for (let t = 0; t < p.length; t += 16) {
            terms[0].forEach((_, i) => {
              const term = terms.slice(t, t + 16).map((x) => x[i]);
              sum = tensorDot(model, sum, term, v.slice(t, t + 16));
            });
          }
        }
        expect(o.low[d] * unit, `seed ${seed}`).toBe(sum);
      }
    }
  });
});

/** ex2 of the negated places of a list; nothing behind it. */
function listed(weights: readonly Interval[]): Exponential {
  const at = (x: number) => weights[-x] ?? { low: 0, high: 0 };
  return { low: (x) => at(x).low, high: (x) => at(x).high, isKnown: false };
}

const known = (x: number): Interval => ({ low: x, high: x });

/** Rows of a type by part, as numbers of the first channel. */
function headOfRows(type: ElementType, parts: readonly (readonly number[])[]): HeadCache {
  const head = plainHead(draws(1), type);
  head.vResidual.fill(0);
  parts.forEach((rows, i) => {
    rows.forEach((x, t) => {
      head.vResidual[(64 * i + t) * rowSize] = elementFromF64(type, x);
    });
  });
  return head;
}

it.each(['fp16', 'bf16'] as const)('a large %s row of no weight moves nothing', (type) => {
  const model = dotModel('sm_90', type === 'bf16' ? 'bf16' : 'f16');
  const [small, large] = type === 'fp16' ? [2 ** -10, 65504] : [2 ** -20, 2 ** 120];
  const decay = fround(0.7);
  const exponential = listed([known(1), known(decay), known(1.5 * 2 ** -20)]);
  const head = headOfRows(type, [
    [0, small],
    [0, large],
  ]);
  const found = taken(model, exponential, head, [partOf(0, [0, -2]), partOf(64, [1, -199])]);
  const exact = fround(decay * 1.5 * 2 ** -20 * small);
  expect([found.o.low[0], found.o.high[0]]).toEqual([exact, exact]);
});

it('a second term around zero does not cut what is small beside it', () => {
  // All first terms are 0.75, and cancel. Second terms at the lower end: -2^-10 of the open weight,
  // eight times 2^-13, and -2^-37, which would be cut if the first of them aligned.
  const open = { low: 0.75 - 2 ** -10, high: 0.75 + 2 ** -10 };
  const others = [0.75 + 2 ** -13, 0.75, 0.75 - 2 ** -13].map(known);
  const tiny = 2 ** -24;
  const head = headOfRows('bf16', [[0, 1, ...Array(8).fill(1), -9, tiny, -tiny]]);
  const one = partOf(0, [0, -1, ...Array(8).fill(-2), -3, -4, -3]);
  const exponential = listed([known(1), open, ...others]);
  const { o } = taken(dotModel('sm_90', 'bf16'), exponential, head, [one]);
  expect(o.low[0]).toBeLessThanOrEqual(-(2 ** -37));
  expect(o.low[0]).toBeGreaterThanOrEqual(-(2 ** -36));
  expect(o.high[0]).toBeGreaterThanOrEqual(2 ** -9);
});

it('a known second term below zero leaves nothing open', () => {
  // First terms are 0.75 and cancel.
  const exponential = listed([1, 0.75 - 2 ** -10, 0.75].map(known));
  const head = headOfRows('bf16', [[0, 1, -1]]);
  const { o } = taken(dotModel('sm_90', 'bf16'), exponential, head, [partOf(0, [0, -1, -2])]);
  expect([o.low[0], o.high[0]]).toEqual([-(2 ** -10), -(2 ** -10)]);
});

it('a head without records has one group, whatever its scheme says', () => {
  const none = { codes: new Uint8Array(0), scales: new Uint16Array(0), zeros: new Uint16Array(0) };
  const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 32 };
  const head = { scheme, headSize: 128, v: none } as unknown as HeadCache;
  expect(valueGroups(head)).toBe(1);
  expect(valueGroups({ ...head, v: { ...none, scales: new Uint16Array(4) } })).toBe(4);
});

it('the maximum of no scores is the least binary32', () => {
  expect(emptyMax).toBe(new Float32Array(Uint32Array.of(0xff7fffff).buffer)[0]);
});
