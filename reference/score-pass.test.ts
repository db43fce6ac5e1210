// Tests of score-pass.ts on one KV head: what each way through the keys adds to an error, by the
// terms of the header, and what is left where there is nothing to round.
import { describe, expect, it } from 'vitest';
import { type KnownArithmetic, u } from './arithmetic.js';
import { boundScratch } from './bound-scratch.js';
import type { HeadCache } from './cache.js';
import { type ElementType, elementFromF64, elementRound, f16Values } from './format.js';
import { channelGroupTerms } from './key-groups.js';
import { emptyQuantized, quantizeK, quantizeV } from './quantize.js';
import type { Scheme } from './scheme.js';
import { queryOf } from './score-bound.js';
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

/** A record whose keys are normal numbers of one size. */
function recordOf(scheme: Scheme, type: ElementType): HeadCache {
  const draw = draws(7);
  const words = Uint16Array.from({ length: 128 * size }, () => elementFromF64(type, draw.normal()));
  return {
    ...{ scheme, headSize: size, tokens: 128, type, packed: 128 },
    k: (scheme.kAxis === 'token' ? quantizeV : quantizeK)(scheme, words, 128, size, type),
    v: emptyQuantized(128, size, 128),
    ...{ kResidual: new Uint16Array(0), vResidual: new Uint16Array(0) },
  };
}

const scored = (head: HeadCache, q: Float64Array, factor: number) =>
  scoreHead(
    ...([folded, head, factor, q, boundScratch(q.length / size, size)] as const),
    scoreRoom(q.length / size, head.tokens),
  );

describe('a query of zeros', () => {
  it.each([
    ['fp16', 0],
    ['bf16', 2 ** -50],
  ] as const)('has scores of 0 in %s, off by the floor of its factors', (type, floor) => {
    const { exact, shadow, error } = scored(tailOf(type, 3), new Float64Array(2 * size), -8);
    expect([...exact, ...shadow].every((x) => x === 0)).toBe(true);
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
    const head = recordOf({ format: 'bitdecoding', kAxis: 'token', bits, group }, type);
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
