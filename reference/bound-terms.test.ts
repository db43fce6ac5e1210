// Tests of bound.ts and shadow-rows.ts on problems so small that each says what one term is: what
// a bound keeps for zeros, where its guards begin, which rows they guard.
import { describe, expect, it } from 'vitest';
import {
  anyArithmetic,
  ex2Error,
  guardLimit,
  type KnownArithmetic,
  type Operands,
  u,
} from './arithmetic.js';
import { rowRoom, rowRoomBytes } from './block-rows.js';
import { openBlockMath } from './block-simd.js';
import { boundL1 } from './bound.js';
import { type HeadCache, keyRows } from './cache.js';
import { type ElementType, elementFromF64, elementRound, f64Array } from './format.js';
import { emptyQuantized } from './quantize.js';
import type { Scheme } from './scheme.js';
import { keyShadow } from './shadow-rows.js';
import { attack } from './simulated/adversary.js';
import { draws } from './simulated/draw.js';
import { plainBound } from './simulated/plain-bound.js';

const size = 64;
const plain: Scheme = { format: 'fp16', kAxis: 'channel', bits: 16, group: 128 };
const packed: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 32 };
const none = emptyQuantized(0, size, 0);
const a: KnownArithmetic = {
  ...{ operands: 'dequantized', fraction: 25, fusedProducts: 16, sumLanes: 8 },
};

type Rows = readonly ((d: number) => number)[];
/** Word by word, (rows, size). */
const words = (type: ElementType, rows: Rows) =>
  Uint16Array.from({ length: rows.length * size }, (_, i) =>
    elementFromF64(type, rows[Math.floor(i / size)](i % size)),
  );

/** A head of plain rows, a key and a value for each token. */
function headOf(type: ElementType, keys: Rows, values: Rows): HeadCache {
  return {
    ...{ scheme: plain, headSize: size, tokens: keys.length, type, packed: 0, k: none, v: none },
    ...{ kResidual: words(type, keys), vResidual: words(type, values) },
  };
}

/** The bound of query rows that share a head. */
function boundOf(head: HeadCache, queries: Rows, scale: number) {
  const p = { tokens: [head.tokens], queryHeads: queries.length, kvHeads: 1, headSize: size };
  return boundL1({ ...p, type: head.type }, scale, words(head.type, queries), [head], a);
}

const one = () => 1;
const zero = () => 0;

describe('a channel of zeros of one token', () => {
  // Nothing drifts, nothing is rounded, and of no product is a bit lost. What is left are float64
  // sums of this reference, 257 times 2^-52 of the largest value of any channel, and weights that
  // a kernel flushes, 2^-64 of the values that fp16 scales: of one and the largest if type bf16.
  it.each([
    { type: 'fp16', largest: 0, valueMax: 2 ** -14, flushed: 1 },
    { type: 'fp16', largest: 65504, valueMax: 65504, flushed: 1 },
    { type: 'bf16', largest: 0, valueMax: 2 ** -126, flushed: 1 },
    { type: 'bf16', largest: 2 ** 90, valueMax: 2 ** 90, flushed: 1 + 2 ** 90 },
  ] as const)('is bounded by what may be flushed: $type beside $largest', (given) => {
    const { type, largest, valueMax, flushed } = given;
    const head = headOf(type, [one], [(d) => (d === 5 ? largest : 0)]);
    const { output, outputRadius, guarded } = boundOf(head, [one], 1);
    expect([output[0], guarded[0]]).toEqual([0, 0]);
    const radius = 257 * 2 ** -52 * valueMax + 2 ** -64 * flushed;
    expect(Math.abs(outputRadius[0] / radius - 1)).toBeLessThan(2 ** -40);
  });
});

it('the lse of one token of score 0 is off by its sum, its logarithm and what is flushed', () => {
  const { lse, lseBound } = boundOf(headOf('fp16', [one], [one]), [zero], 1);
  expect(lse[0]).toBe(0);
  // A record and 3 more rescale it; 45 roundings of its sum; the logarithm of that sum, and the
  // one of a merge.
  const logarithm = Math.LN2 * 2 ** -22;
  const roundings = (45 * u) / (1 - 45 * u);
  const logOfSum = 5 * ex2Error + logarithm + roundings / (1 - roundings);
  const bound = logOfSum * (1 + 8 * u) + logarithm + 2 ** -64;
  expect(Math.abs(lseBound[0] / bound - 1)).toBeLessThan(2 ** -48);
});

describe('a row is guarded', () => {
  it('from a drift on of which no theorem speaks, although its bound is finite', () => {
    // Scores cancel and their terms do not: what they may be off by grows with the scale.
    const query = (d: number) => (d % 2 === 0 ? 64 : -64);
    const row = f64Array(words('fp16', [query]));
    const head = headOf('fp16', [one, one], [one, zero]);
    const found = Array.from({ length: 16 }, (_, i) => {
      const { drift, radius } = plainBound(a, head, 2 ** i, row, [0]);
      const { guarded } = boundOf(head, [query], 2 ** i);
      expect(guarded[0] === 1, `${drift}`).toBe(drift >= guardLimit);
      return guarded[0] === 1 && Number.isFinite(radius[0]) && radius[0] > 0;
    });
    expect(found).toContain(true);
    expect(found[0]).toBe(false);
  });

  it('if the scale takes the factor out of its range, which 0 does not', () => {
    const head = headOf('fp16', [one, one], [one, zero]);
    const { guarded, output } = boundOf(head, [one], 0);
    expect([guarded[0], output[0], output[1]]).toEqual([0, 0.5, 0.5]);
    // A row of zeros has no error at any scale. The factor is log2 e = 1.44 times the scale.
    const ofZeros = (scale: number) => boundOf(head, [zero], scale).guarded[0];
    expect([2 ** 39, -(2 ** 39), 2 ** 40, -(2 ** 40)].map(ofZeros)).toEqual([0, 0, 1, 1]);
    expect([2 ** -80, 2 ** -81].map(ofZeros)).toEqual([0, 1]);
  });

  it('if sums of all values may reach 2^100', () => {
    const of = (value: number, tokens: number) => {
      const rows = (x: number): Rows => Array.from({ length: tokens }, () => () => x);
      return boundOf(headOf('bf16', rows(1), rows(value)), [zero], 1).guarded[0];
    };
    expect([of(2 ** 99, 1), of(2 ** 100, 1), of(2 ** 98, 2), of(2 ** 99, 2)]).toEqual([0, 1, 0, 1]);
  });

  it('for its own query alone, first or second', () => {
    // Sums with keys of 2^40 stay below 2^100 for the one and not for the other.
    const head = headOf('bf16', [() => 2 ** 40], [one]);
    const [small, huge] = [one, () => 2 ** 60];
    for (const [queries, guarded] of [
      [[small, huge], 1],
      [[huge, small], 0],
    ] as const) {
      const result = boundOf(head, queries, 2 ** -70);
      expect([result.guarded[guarded], result.guarded[1 - guarded]]).toEqual([1, 0]);
      for (const x of [result.outputBound, result.outputRadius]) {
        const row = (h: number) => x.subarray(h * size, (h + 1) * size);
        expect(row(guarded).every(Number.isNaN)).toBe(true);
        expect(row(1 - guarded).every(Number.isFinite)).toBe(true);
      }
      expect(result.lseBound[guarded]).toBeNaN();
      expect(Number.isFinite(result.lseBound[1 - guarded])).toBe(true);
    }
  });
});

it('records have the bound of their own beside a head of plain rows', () => {
  const head = attack('ordinary', packed, 128, draws(3), { headSize: size, type: 'fp16' }).head;
  const rows = Array.from({ length: 128 }, () => one);
  const beside = headOf('fp16', rows, rows);
  const p = { tokens: [128], queryHeads: 2, kvHeads: 2, headSize: size };
  const q = words('fp16', [one, one]);
  const both = boundL1(p, 0.1, q, [head, beside], anyArithmetic);
  const own = boundL1(
    { ...p, queryHeads: 1, kvHeads: 1 },
    0.1,
    q.subarray(0, size),
    [head],
    anyArithmetic,
  );
  expect(both.outputRadius.subarray(0, size)).toEqual(own.outputRadius);
});

describe('rounded keys of records', () => {
  it.each(['dequantized', 'dequantized-twice'] as Operands[])(
    'are those of their own group wherever a block starts: %s',
    (operands) => {
      const { head } = attack('ordinary', packed, 128, draws(4), { headSize: size, type: 'fp16' });
      const room = rowRoom(openBlockMath(rowRoomBytes(size)), size);
      const [first, count] = [5, 70]; // from inside of group 0 to inside of group 2
      keyRows(head, first, count, room.rows);
      const apart = new Float64Array(count * size);
      keyShadow(operands, head, first, room, apart);
      const [scales, zeros] = [f64Array(head.k.scales), f64Array(head.k.zeros)];
      const wanted = new Float64Array(count * size);
      wanted.forEach((_, i) => {
        const [token, d] = [first + Math.floor(i / size), i % size];
        const at = Math.floor(token / 32) * size + d;
        const product = head.k.codes[token * size + d] * scales[at];
        const term = operands === 'dequantized' ? product : elementRound('fp16', product);
        const rounded = elementRound('fp16', term + zeros[at]);
        wanted[i] = rounded - (product + zeros[at]);
      });
      expect(apart).toEqual(wanted);
      expect(apart.some((x) => x !== 0)).toBe(true);
    },
  );
});
