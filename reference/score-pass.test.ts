// Tests of score-pass.ts on one KV head: what each way through the keys adds to an error, by the
// terms of the header, and what is left where there is nothing to round.
import { describe, expect, it } from 'vitest';
import { type KnownArithmetic, u } from './arithmetic.js';
import { boundScratch } from './bound-scratch.js';
import type { HeadCache } from './cache.js';
import {
  type ElementType,
  elementFromF64,
  elementRound,
  elementValues,
  exponentOf,
  f16Values,
  significand11,
} from './format.js';
import { channelGroupTerms, dequantizedGroup, foldedGroup } from './key-groups.js';
import { emptyQuantized, quantizeK } from './quantize.js';
import type { Scheme } from './scheme.js';
import { plainChainError, queryOf } from './score-bound.js';
import { scoreHead, scoreRoom } from './score-pass.js';
import { draws } from './simulated/draw.js';

const size = 64;
const folded: KnownArithmetic = {
  ...{ operands: 'folded', fraction: 25, fusedProducts: 16, sumLanes: 8 },
};
const plain: Scheme = { format: 'fp16', kAxis: 'channel', bits: 16, group: 128 };
const none = emptyQuantized(0, size, 0);

function tailOf(type: ElementType, tokens: number): HeadCache {
  const rows = new Uint16Array(tokens * size).fill(elementFromF64(type, 3));
  return {
    ...{ scheme: plain, headSize: size, tokens, type, packed: 0, k: none, v: none },
    ...{ kResidual: rows, vResidual: rows },
  };
}

/** Records and a tail whose keys are normal numbers, of another size in each channel. */
function headOf(scheme: Scheme, type: ElementType, tokens = 128): HeadCache {
  const draw = draws(7);
  const words = Uint16Array.from({ length: tokens * size }, (_, i) =>
    elementFromF64(type, draw.normal() * 2 ** -(i % 3)),
  );
  const packed = tokens - (tokens % 128);
  return {
    ...{ scheme, headSize: size, tokens, type, packed },
    k: quantizeK(scheme, words.subarray(0, packed * size), packed, size, type),
    v: emptyQuantized(packed, size, packed),
    ...{ kResidual: words.slice(packed * size), vResidual: words.slice(packed * size) },
  };
}

const scored = (head: HeadCache, q: Float64Array, factor: number, a = folded) =>
  scoreHead(
    ...([a, head, factor, q, boundScratch(q.length / size, size)] as const),
    scoreRoom(q.length / size, head.tokens + 3), // of the longest head of a call
  );

describe('a query of zeros', () => {
  it.each([
    ['fp16', 0],
    ['bf16', 2 ** -50],
  ] as const)('has scores of 0 in %s, off by the floor of its factors', (type, floor) => {
    const { exact, shadow, error } = scored(tailOf(type, 3), new Float64Array(2 * size), -8);
    expect([...exact, ...shadow].every((x) => x === 0)).toBe(true);
    expect([exact, shadow, error].map((x) => x.length)).toEqual([6, 6, 6]);
    // Of products of zeros next to nothing is left: 2^-892 of the smallest normal number.
    expect(error.every((x) => Math.abs(x - floor) < 2 ** -880)).toBe(true);
  });
});

describe('K per token, folded', () => {
  it.each([
    { bits: 2, group: 32, type: 'bf16', floor: 2 ** -50 },
    { bits: 4, group: 64, type: 'fp16', floor: 0 },
    { bits: 8, group: 32, type: 'bf16', floor: 2 ** -50 },
  ] as const)('adds the terms of each group of channels: $bits bits, $type', (given) => {
    const { bits, group, type, floor } = given;
    const head = headOf({ format: 'bitdecoding', kAxis: 'token', bits, group }, type);
    const draw = draws(bits);
    // Of every magnitude: the smallest are lost beside the largest, if the query is bf16.
    const q = Float64Array.from({ length: 2 * size }, () => draw.normal() * 2 ** -draw.below(30));
    const values = q.map((x) => elementRound(type, x));
    const factor = 0.375;
    const { error } = scored(head, values, factor);
    const groups = size / group;
    // 4 u of every score and as many of a group, one for each that is added, one of second order.
    const rounding = 4 * u + 2 ** -44 + (5 + groups) * u;
    for (let h = 0; h < 2; h++) {
      const own = values.slice(h * size, (h + 1) * size);
      const query = queryOf(own, type, own.map(Math.abs));
      for (const t of [0, 1, 127]) {
        let sum = 0;
        for (let g = 0; g < groups; g++) {
          const terms = channelGroupTerms(folded, query, g * group, (g + 1) * group, bits);
          const scale = f16Values[head.k.scales[t * groups + g]];
          const zero = Math.abs(f16Values[head.k.zeros[t * groups + g]]);
          sum += scale * (terms.codeError + rounding * terms.codeSum);
          sum += zero * (terms.zeroError + rounding * terms.zeroSum);
          sum += terms.lost * (zero + (2 ** bits - 1) * scale);
        }
        const expected = sum * factor + floor;
        expect(Math.abs(error[h * 128 + t] / expected - 1)).toBeLessThan(2 ** -45);
      }
    }
  });
});

/** Elements 0 to size of f, added. */
const total = (f: (d: number) => number) =>
  Array.from({ length: size }, (_, d) => f(d)).reduce((a, b) => a + b);

/**
 * Two query rows of one type: some elements are so small, and powers of two, that their
 * products with a scale may be subnormal in fp16 but lose nothing to 11 bits.
 */
function queryRows(type: ElementType, seed: number) {
  const draw = draws(seed);
  const q = Float64Array.from({ length: 2 * size }, (_, i) =>
    elementRound(type, i % 9 === 5 ? 2 ** -23 : 4 * draw.normal()),
  );
  return { q, rows: [q.slice(0, size), q.slice(size)] };
}

const raised = (x: number, least: number) => (x === 0 ? 0 : Math.max(Math.abs(x), least));

/** What a token of a tail, or of a dequantising kernel with K per token, is off by. */
function plainError(a: KnownArithmetic, q: Float64Array, k: (d: number) => number, least: number) {
  const magnitude = total((d) => raised(q[d], least) * raised(k(d), least));
  return plainChainError(a, size, magnitude) + (4 * u + 2 ** -44) * magnitude;
}

describe('K per channel', () => {
  const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 32 };
  const tokens = 2 * 128 + 5;
  const head = headOf(scheme, 'fp16', tokens);
  const { q, rows } = queryRows('fp16', 3);
  const factor = -0.375;
  const looked = [0, 31, 32, 127, 128, 200, 255, 256, 260];

  it.each(['folded', 'dequantized'] as const)('is off by its group of tokens: %s', (operands) => {
    const a: KnownArithmetic = { ...folded, operands };
    const { exact, shadow, error } = scored(head, q, factor, a);
    const tail = elementValues('fp16');
    rows.forEach((own, h) => {
      const aligned = own.map((x) => raised(x, 2 ** -14));
      const query = queryOf(own, 'fp16', aligned);
      for (const t of looked) {
        const group = Math.floor(t / 32);
        const part = (x: Uint16Array) =>
          Float64Array.from(x.slice(group * size, (group + 1) * size), (word) => f16Values[word]);
        const [scales, zeros] = [part(head.k.scales), part(head.k.zeros)];
        const code = (d: number) => head.k.codes[t * size + d];
        const word = (d: number) => head.kResidual[(t - 256) * size + d];
        const key = (d: number) => (t < 256 ? code(d) * scales[d] + zeros[d] : tail[word(d)]);
        // A folding kernel rounds q s, the others the key; nothing is rounded in the tail.
        const rounded = (d: number) =>
          operands === 'folded'
            ? code(d) * significand11(own[d] * scales[d]) + zeros[d] * own[d]
            : own[d] * elementRound('fp16', key(d));
        const product = (d: number) => own[d] * key(d);
        const at = h * tokens + t;
        expect(exact[at]).toBeCloseTo(factor * total(product), 12);
        expect(shadow[at]).toBeCloseTo(factor * total(t < 256 ? rounded : product), 12);
        const terms =
          operands === 'folded'
            ? foldedGroup(a, query, scales, exponentOf(Math.max(...scales)), zeros, 4, own.slice())
            : dequantizedGroup(a, query, scales, zeros, 4);
        const packed = terms.error + (4 * u + 2 ** -44) * terms.magnitude;
        const found = error[at] / (0.375 * (t < 256 ? packed : plainError(a, own, key, 2 ** -14)));
        expect(Math.abs(found - 1)).toBeLessThan(2 ** -45);
      }
    });
  });
});

describe('K per token, dequantised', () => {
  it.each(['fp16', 'bf16'] as const)('is off by a chain over the rounded keys: %s', (type) => {
    const scheme: Scheme = { format: 'bitdecoding', kAxis: 'token', bits: 2, group: 32 };
    const head = headOf(scheme, type);
    const { q, rows } = queryRows(type, 4);
    const a: KnownArithmetic = { ...folded, operands: 'dequantized' };
    const { exact, shadow, error } = scored(head, q, 0.5, a);
    rows.forEach((own, h) => {
      for (const t of [0, 1, 127]) {
        const at = (d: number) => t * 2 + Math.floor(d / 32);
        const [scale, zero] = [head.k.scales, head.k.zeros].map(
          (x) => (d: number) => f16Values[x[at(d)]],
        );
        const key = (d: number) => head.k.codes[t * size + d] * scale(d) + zero(d);
        const rounded = (d: number) => elementRound(type, key(d));
        expect(exact[h * 128 + t]).toBeCloseTo(0.5 * total((d) => own[d] * key(d)), 12);
        expect(shadow[h * 128 + t]).toBeCloseTo(0.5 * total((d) => own[d] * rounded(d)), 12);
        const least = type === 'bf16' ? 2 ** -126 : 2 ** -14;
        const expected =
          0.5 * plainError(a, own, rounded, least) + (type === 'bf16' ? 2 ** -50 : 0);
        expect(Math.abs(error[h * 128 + t] / expected - 1)).toBeLessThan(2 ** -45);
      }
    });
  });
});

describe('rows as they came', () => {
  it('count for no less than normal numbers, unless they are 0', () => {
    const small = [2 ** -24, -3 * 2 ** -20, 0, 2 ** -14, 5];
    const head = tailOf('fp16', 1);
    head.kResidual.forEach((_, i) => {
      head.kResidual[i] = elementFromF64('fp16', small[i % 5]);
    });
    const q = Float64Array.from({ length: size }, (_, d) => small[(d >> 2) % 5]);
    const { exact, shadow, error } = scored(head, q, 4);
    const key = (d: number) => small[d % 5];
    expect(exact[0]).toBe(4 * total((d) => q[d] * key(d)));
    expect(shadow[0]).toBe(exact[0]);
    const expected = 4 * plainError(folded, q, key, 2 ** -14);
    expect(Math.abs(error[0] / expected - 1)).toBeLessThan(2 ** -45);
  });
});
