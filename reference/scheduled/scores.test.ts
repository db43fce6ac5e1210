// Tests of scores.ts: scores are what the header makes of the operands of the tensor core, fp16
// numbers and subnormal codes, with the sums of mma.ts.
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
import { type Architecture, dotModel, tensorDot } from '../mma.js';
import { fmaF32 } from '../number-type.js';
import { recordTokens, type Scheme } from '../scheme.js';
import { type Draw, draws } from '../simulated/draw.js';
import { exactExponential } from './interval.js';
import { scaledQuery } from './scaled-query.js';
import { fieldWeight, type Part, wideChannel } from './schedule.js';
import { partScores } from './scores.js';
import { partScratch, partTiles } from './warp-sums.js';

const { fround } = Math;
const headSize = 64;
const architectures = ['sm_80', 'sm_90'] as const;

/** Scores of parts, one after the other. */
function scoresOf(
  architecture: Architecture,
  head: HeadCache,
  scale: number,
  q: Float64Array,
  parts: readonly Part[],
): number[][] {
  const isBf16 = head.type === 'bf16' && parts.every(({ first }) => first >= head.packed);
  const core = dotModel(architecture, isBf16 ? 'bf16' : 'f16');
  const scratch = partScratch(core, headSize);
  const cores = { core, exponential: exactExponential };
  const own = partScores(cores, scratch.fused, head, scaledQuery(scale, q, head.type));
  return parts.map((part) => {
    const count = part.end - part.first;
    const scores = new Float64Array(count + 30).fill(7); // what is there does not count
    own(part, partTiles(scratch, head, part).keys, scores);
    expect([...scores.subarray(count)]).toEqual(Array(30).fill(7));
    return [...scores.subarray(0, count)];
  });
}

const someQuery = (draw: Draw, type: ElementType) => {
  const size = 2 ** (4 - draw.below(9));
  return Float64Array.from({ length: headSize }, () =>
    draw.below(6) === 0 ? 0 : elementRound(type, draw.normal() * size * 2 ** -draw.below(8)),
  );
};

/** Two records of codes of K, many of them zero; scales over exponents [from, to). */
function packedHead(
  draw: Draw,
  scheme: Scheme,
  type: ElementType,
  [from, to]: readonly [number, number],
): HeadCache {
  const tokens = 2 * recordTokens;
  const perToken = tokens * (headSize / Math.min(scheme.group, headSize));
  const count = scheme.kAxis === 'token' ? perToken : (tokens / scheme.group) * headSize;
  const codes = Uint8Array.from({ length: tokens * headSize }, () =>
    draw.below(2) === 0 ? 0 : draw.below(2 ** scheme.bits),
  );
  // Each group of K has a largest scale of its own.
  const most = () => from + draw.below(to - from);
  let own = most();
  const scales = Uint16Array.from({ length: count }, (_, i) => {
    if (i % headSize === 0) own = most();
    return f16FromF64((1 + draw.unit()) * 2 ** (own - draw.below(5)));
  });
  const zeros = Uint16Array.from({ length: count }, () => f16FromF64(draw.normal() * 2 ** own));
  const none = new Uint16Array(0);
  return {
    ...{ scheme, headSize, tokens, type, packed: tokens },
    k: { codes, scales, zeros },
    v: { codes, scales: none, zeros: none },
    kResidual: none,
    vResidual: none,
  };
}

/** A code of a channel as the kernel reads it: a subnormal of fp16. */
const codeWords = (head: HeadCache, t: number, first: number, end: number) =>
  Array.from(head.k.codes.subarray(t * headSize + first, t * headSize + end), (code, i) => {
    return code * 2 ** (fieldWeight(head.scheme.bits, first + i) - 24);
  });

const clamp = (x: number, low: number, high: number) => Math.min(Math.max(x, low), high);

/** S of a token by the header, K per channel. */
function channelScore(
  architecture: Architecture,
  head: HeadCache,
  scale: number,
  q: Float64Array,
  t: number,
): number {
  const core = dotModel(architecture);
  const { hat, top, zeroFactor, codeFactor } = scaledQuery(scale, q, head.type);
  const { bits, group } = head.scheme;
  const parameter = (words: Uint16Array, d: number) =>
    f16Values[words[Math.floor(t / group) * headSize + d]];
  const channels = Array.from({ length: headSize }, (_, d) => d);
  const scales = channels.map((d) => parameter(head.k.scales, d));
  const e = clamp(exponentOf(Math.max(...scales)), -24, 15);
  const m = 2 ** (14 - top - e);
  const folded = channels.map((d) =>
    f16Round(f16Round(hat[d] * scales[d] * m) * 2 ** -fieldWeight(bits, d)),
  );
  const zeros = channels.map((d) => parameter(head.k.zeros, d));
  const sum = tensorDot(core, 0, codeWords(head, t, 0, headSize), folded);
  const zero = fround(tensorDot(core, 0, zeros, hat) * zeroFactor);
  return fmaF32(sum, fround(codeFactor * 2 ** (10 + e)), zero);
}

/** S of a token by the header, K per token. */
function tokenScore(
  architecture: Architecture,
  head: HeadCache,
  scale: number,
  q: Float64Array,
  t: number,
): number {
  const core = dotModel(architecture);
  const { hat, zeroFactor } = scaledQuery(scale, q, head.type);
  const group = Math.min(head.scheme.group, headSize);
  const groups = headSize / group;
  let all = 0;
  for (let g = 0; g < groups; g++) {
    const [first, end] = [g * group, (g + 1) * group];
    const weighed = Array.from(hat.subarray(first, end), (x, i) =>
      f16Round(x * 2 ** -fieldWeight(head.scheme.bits, first + i)),
    );
    const sum = tensorDot(core, 0, codeWords(head, t, first, end), weighed);
    const ones = tensorDot(core, 0, Array(group).fill(1), hat.subarray(first, end)) / 2 ** 24;
    const [s, z] = [head.k.scales, head.k.zeros].map((words) => f16Values[words[t * groups + g]]);
    const own = fmaF32(sum, s, fround(z * ones));
    all = g === 0 ? own : fround(all + own);
  }
  return fround(all * fround(zeroFactor * 2 ** 24));
}

const tile = (first: number, end: number): Part => ({ first, end, isTail: false });

describe.each(architectures)('codes on %s', (architecture) => {
  it.each([
    ['channel', channelScore],
    ['token', tokenScore],
  ] as const)('K per %s gives the scores of the header', (kAxis, expected) => {
    for (let seed = 0; seed < 15; seed++) {
      const draw = draws(seed);
      const bits = ([8, 4, 2] as const)[seed % 3];
      const group = ([32, 64, 128] as const)[draw.below(3)];
      const type = draw.below(2) === 0 ? 'fp16' : 'bf16';
      const head = packedHead(draw, { format: 'bitdecoding', kAxis, bits, group }, type, [-12, 6]);
      const [scale, q] = [0.125 * (1 + draw.unit()), someQuery(draw, type)];
      // Both parts may end within a group of tokens.
      const parts = [tile(0, 40), tile(128, 129 + draw.below(127))];
      const found = scoresOf(architecture, head, scale, q, parts);
      for (const [i, { first, end }] of parts.entries()) {
        const all = Array.from({ length: end - first }, (_, t) =>
          expected(architecture, head, scale, q, first + t),
        );
        expect(found[i], `seed ${seed}`).toEqual(all);
      }
    }
  });
});

describe('the exponent of the scales of a group', () => {
  const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 64 };

  it.each([
    ['that are small', [-24, -20]],
    ['that are large', [12, 15]],
  ] as const)('%s is that of the largest', (_, range) => {
    const draw = draws(5);
    const head = packedHead(draw, scheme, 'fp16', range);
    const q = someQuery(draw, 'fp16');
    const [found] = scoresOf('sm_90', head, 0.1, q, [tile(0, 128)]);
    expect(found).toEqual(found.map((_, t) => channelScore('sm_90', head, 0.1, q, t)));
  });

  it('without any is that of the least fp16, so that zeros alone count', () => {
    const head = packedHead(draws(6), scheme, 'fp16', [0, 1]);
    head.k.scales.fill(0);
    const q = someQuery(draws(7), 'fp16');
    const [found] = scoresOf('sm_90', head, 0.1, q, [tile(0, 128)]);
    expect(found).toEqual(found.map((_, t) => channelScore('sm_90', head, 0.1, q, t)));
    expect(new Set(found).size).toBe(2); // one score a group
  });
});

/** Rows of K behind `packed` tokens, of numbers that may be subnormal. */
function rowHead(draw: Draw, scheme: Scheme, type: ElementType, packed: number): HeadCache {
  const size = type === 'bf16' && draw.below(3) === 0 ? 2 ** -70 : 2 ** -draw.below(14);
  const rows = Uint16Array.from({ length: 20 * headSize }, () =>
    draw.below(5) === 0 ? 0 : elementFromF64(type, draw.normal() * size * 2 ** -draw.below(10)),
  );
  const none = { codes: new Uint8Array(0), scales: new Uint16Array(0), zeros: new Uint16Array(0) };
  const tails = { kResidual: rows, vResidual: rows };
  return { scheme, headSize, tokens: packed + 20, type, packed, k: none, v: none, ...tails };
}

const plain: Scheme = { format: 'fp16', kAxis: 'channel', bits: 16, group: 128 };
const coded = (['channel', 'token'] as const).map(
  (kAxis): Scheme => ({ format: 'bitdecoding', kAxis, bits: 4, group: 32 }),
);

/** S of the tokens from `first` on by the header. */
function rowScores(
  architecture: Architecture,
  head: HeadCache,
  scale: number,
  q: Float64Array,
  first: number,
): number[] {
  const { type, tokens, packed, scheme } = head;
  const model = dotModel(architecture, type === 'bf16' ? 'bf16' : 'f16');
  const { hat, k2, zeroFactor } = scaledQuery(scale, q, type);
  const [own, factor] = type === 'bf16' ? [q, k2] : [hat, zeroFactor];
  const order = Array.from({ length: headSize }, (_, k) => (scheme === plain ? wideChannel(k) : k));
  const operand = order.map((d) => own[d]);
  return Array.from({ length: tokens - first }, (_, t) => {
    const at = (first + t - packed) * headSize;
    const row = order.map((d) => elementValues(type)[head.kResidual[at + d]]);
    return fround(tensorDot(model, 0, row, operand) * factor);
  });
}

describe.each(architectures)('rows on %s', (architecture) => {
  it.each(['fp16', 'bf16'] as const)('of %s give the scores of the header', (type) => {
    for (let seed = 0; seed < 30; seed++) {
      const draw = draws(seed);
      const scheme = [plain, ...coded][seed % 3];
      const packed = scheme === plain ? 0 : 128 * draw.below(2);
      const head = rowHead(draw, scheme, type, packed);
      const least = draw.below(3) > 0 ? 1 : type === 'fp16' ? 2 ** -16 : 2 ** -60;
      const q = someQuery(draw, type).map((x) => elementRound(type, x * least));
      const scale = 0.125 * (1 + draw.unit());
      const first = packed + draw.below(10);
      const [found] = scoresOf(architecture, head, scale, q, [tile(first, packed + 20)]);
      expect(found, `seed ${seed}`).toEqual(rowScores(architecture, head, scale, q, first));
    }
  });

  it.each(['fp16', 'bf16'] as const)('of %s count small products beside large factors', (type) => {
    // The largest element meets zeros, and what is large in rows meets zeros of the query.
    const [least, large] = type === 'fp16' ? [2 ** -24, 2 ** 14] : [2 ** -60, 2 ** 100];
    for (let seed = 0; seed < 20; seed++) {
      const draw = draws(seed);
      const head = rowHead(draw, plain, type, 0);
      const q = Float64Array.from({ length: headSize }, () => least * draw.below(6));
      q[5] = large;
      head.kResidual.forEach((_, i) => {
        const x = q[i % headSize] === 0 ? large * draw.unit() : draw.normal() * 2 ** -8;
        head.kResidual[i] = elementFromF64(type, i % headSize === 5 ? 0 : x);
      });
      const [found] = scoresOf(architecture, head, 1, q, [tile(0, 20)]);
      expect(found, `seed ${seed}`).toEqual(rowScores(architecture, head, 1, q, 0));
    }
  });
});
