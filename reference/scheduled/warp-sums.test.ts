// Tests of warp-sums.ts and code-sums.ts: intervals of no width are the numbers that known-sums.ts
// computes, and intervals of some width contain what every choice in them gives.
import { describe, expect, it } from 'vitest';
import type { HeadCache } from '../cache.js';
import { ex2Approx } from '../ex2-approx.js';
import { f64Array } from '../format.js';
import { type Architecture, dotModel } from '../mma.js';
import type { Scheme } from '../scheme.js';
import { attack, kinds } from '../simulated/adversary.js';
import { draws } from '../simulated/draw.js';
import { type Exponential, exactExponential } from './interval.js';
import { logSum, mergeSplits, mergeWarps, type Partial, quotient } from './merge.js';
import { scaledQuery } from './scaled-query.js';
import { dealParts } from './schedule.js';
import { type Cores, partScores } from './scores.js';
import { addPart, emptyWarp, partScratch, partTiles } from './warp-sums.js';

const size = 64;

function coresOf(architecture: Architecture, exponential: Exponential): Cores {
  return { core: dotModel(architecture), exponential };
}

/** One query row, as bound-l2.ts puts it together: two splits of two warps. */
function rowOf(cores: Cores, head: HeadCache, scale: number, q: Float64Array): Partial {
  const scratch = partScratch(cores.core, size);
  const scoresOf = partScores(cores, scratch.fused, head, scaledQuery(scale, q, head.type));
  const splits = dealParts(head, 2, 2).map((warps) => {
    const states = warps.map((parts) => {
      const state = emptyWarp(head);
      for (const part of parts) {
        const tiles = partTiles(scratch, head, part);
        const scores = scratch.scores.subarray(0, part.end - part.first);
        scoresOf(part, tiles.keys, scores);
        addPart(cores, head, state, part, tiles, scores, scratch);
      }
      return state;
    });
    const seen = states.filter((_, warp) => warps[warp].length > 0);
    return mergeWarps(cores.exponential, seen, size);
  });
  return mergeSplits(cores.exponential, splits, size);
}

const schemes = (['channel', 'token'] as const).flatMap((kAxis) =>
  ([8, 4, 2] as const).flatMap((bits) =>
    ([64, 32] as const).map((group): Scheme => ({ format: 'bitdecoding', kAxis, bits, group })),
  ),
);

describe.each(['fp16', 'bf16'] as const)('a row of %s', (type) => {
  const closed: Exponential = { ...exactExponential, isKnown: false };

  it.each(schemes)('whose intervals have no width is the known one: %o', (scheme) => {
    kinds.forEach((kind, i) => {
      if ((i + schemes.indexOf(scheme)) % 4 !== 0) return;
      const architecture = i % 2 === 0 ? 'sm_90' : 'sm_80';
      const { head, q, softmaxScale } = attack(kind, scheme, 420, draws(60 + i), {
        headSize: size,
        type,
      });
      const row = f64Array(q, undefined, type);
      const known = rowOf(coresOf(architecture, exactExponential), head, softmaxScale, row);
      const found = rowOf(coresOf(architecture, closed), head, softmaxScale, row);
      expect(found, kind).toEqual(known);
      expect(known.o.high, kind).toEqual(known.o.low);
      expect(known.sum.high, kind).toBe(known.sum.low);
    });
  });

  /** ex2 within two ulp of the known one, either way by turns: what `wide` leaves open. */
  const ulps = (x: number, n: number) => (x === 0 ? 1 : ex2Approx(x) * (1 + n * 2 ** -23));
  const near = (n: number) => (x: number) => Math.fround(ulps(x, n));
  const wide: Exponential = { low: near(-2), high: near(2), isKnown: false };

  it.each(schemes)('whose exponentials are open holds every choice: %o', (scheme) => {
    kinds.forEach((kind, i) => {
      if ((i + schemes.indexOf(scheme)) % 8 !== 0) return;
      const architecture = i % 2 === 0 ? 'sm_80' : 'sm_90';
      const { head, q, softmaxScale } = attack(kind, scheme, 420, draws(80 + i), {
        headSize: size,
        type,
      });
      const row = f64Array(q, undefined, type);
      const range = rowOf(coresOf(architecture, wide), head, softmaxScale, row);
      const draw = draws(i);
      const any = (x: number) => near(draw.below(5) - 2)(x);
      for (const choice of [near(-2), near(2), any]) {
        const exponential = { low: choice, high: choice, isKnown: true };
        const own = rowOf(coresOf(architecture, exponential), head, softmaxScale, row);
        expect(own.max).toBe(range.max);
        expect(own.sum.low).toBeGreaterThanOrEqual(range.sum.low);
        expect(own.sum.low).toBeLessThanOrEqual(range.sum.high);
        for (let d = 0; d < size; d++) {
          const { low, high } = quotient(range, d);
          expect(own.o.low[d], `${kind}, channel ${d}`).toBeGreaterThanOrEqual(range.o.low[d]);
          expect(own.o.low[d], `${kind}, channel ${d}`).toBeLessThanOrEqual(range.o.high[d]);
          expect(quotient(own, d).low).toBeGreaterThanOrEqual(low);
          expect(quotient(own, d).low).toBeLessThanOrEqual(high);
        }
        expect(logSum(own).low).toBeGreaterThanOrEqual(logSum(range).low);
        expect(logSum(own).high).toBeLessThanOrEqual(logSum(range).high);
      }
    });
  });
});
