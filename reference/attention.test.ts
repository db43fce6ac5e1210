// Tests of attention.ts: a textbook loop with nothing shared, the identities of attention, and the
// shapes at the edge.
import { describe, expect, it } from 'vitest';
import { attend } from './attention.js';
import { allRows, type HeadCache, keyRows, readCache, referenceCache, valueRows } from './cache.js';
import { f16FromF64, f16Values } from './format.js';
import type { Problem } from './problem.js';
import type { Scheme } from './scheme.js';
import { draws, normalF16 } from './simulated/draw.js';

const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 32 };
const scale = Math.fround(1 / Math.sqrt(128));

function inputs(p: Problem, seed: number) {
  const draw = draws(seed);
  const rows = p.tokens.reduce((a, b) => a + b) * p.kvHeads;
  const q = normalF16(draw, p.tokens.length * p.queryHeads * 128);
  const k = normalF16(draw, rows * 128);
  const v = normalF16(draw, rows * 128, 1, 2);
  return { q, k, v };
}

function caches(p: Problem, k: Uint16Array, v: Uint16Array): HeadCache[] {
  const built = referenceCache(p, scheme, k, v);
  return readCache(p, scheme, built.cache, built.kResidual, built.vResidual);
}

/** One query row by the definition, without blocks or base 2. */
function textbook(head: HeadCache, q: Uint16Array, sigma: number) {
  const k = allRows(head, keyRows);
  const v = allRows(head, valueRows);
  const scores = Array.from({ length: head.tokens }, (_, j) => {
    let s = 0;
    for (let i = 0; i < 128; i++) s += f16Values[q[i]] * k[j * 128 + i];
    return sigma * s;
  });
  const max = Math.max(...scores);
  const weights = scores.map((s) => Math.exp(s - max));
  const sum = weights.reduce((a, b) => a + b);
  const output = Array.from({ length: 128 }, (_, d) =>
    weights.reduce((o, w, j) => o + (w / sum) * v[j * 128 + d], 0),
  );
  return { output, lse: max + Math.log(sum) };
}

describe('attend', () => {
  const p: Problem = { tokens: [130, 1, 0, 517, 3], queryHeads: 6, kvHeads: 2, headSize: 128 };
  const attended = () => {
    const { q, k, v } = inputs(p, 1);
    const heads = caches(p, k, v);
    return { q, heads, ...attend(p, scale, q, heads) };
  };

  it('equals the definition for ragged requests and three queries to a KV head', () => {
    const { q, heads, output, lse } = attended();
    for (const r of [0, 1, 3, 4]) {
      for (let h = 0; h < 6; h++) {
        const row = r * 6 + h;
        const expected = textbook(
          heads[r * 2 + Math.floor(h / 3)],
          q.subarray(row * 128, row * 128 + 128),
          scale,
        );
        expect(Math.abs(lse[row] - expected.lse)).toBeLessThan(1e-13 * 10);
        for (let d = 0; d < 128; d++) {
          expect(Math.abs(output[row * 128 + d] - expected.output[d])).toBeLessThan(1e-13);
        }
      }
    }
  });

  it('gives 0 and -Inf to a request without tokens', () => {
    const { output, lse } = attended();
    expect(output.subarray(2 * 6 * 128, 3 * 6 * 128).every((x) => Object.is(x, 0))).toBe(true);
    expect([...lse.subarray(12, 18)]).toEqual(Array(6).fill(Number.NEGATIVE_INFINITY));
  });

  it('returns the value itself for one token', () => {
    const { heads, output } = attended();
    const expected = valueRows(heads[3], 0, 1); // request 1, KV head 1, so query heads 3 to 5
    const found = output.subarray((6 + 3) * 128, (6 + 4) * 128);
    expect([...found]).toEqual([...expected]);
  });
});

describe('identities', () => {
  const p: Problem = { tokens: [200], queryHeads: 1, kvHeads: 1, headSize: 128 };
  const { q, k, v } = inputs(p, 2);

  it('a zero query averages the values, and lse is ln(tokens)', () => {
    const heads = caches(p, k, v);
    const { output, lse } = attend(p, scale, new Uint16Array(128), heads);
    const rows = allRows(heads[0], valueRows);
    for (let d = 0; d < 128; d++) {
      let mean = 0;
      for (let j = 0; j < 200; j++) mean += rows[j * 128 + d] / 200;
      expect(Math.abs(output[d] - mean)).toBeLessThan(1e-13);
    }
    expect(Math.abs(lse[0] - Math.log(200))).toBeLessThan(1e-14);
  });

  it('constant values come back whatever the scores', () => {
    const heads = caches(p, k, new Uint16Array(200 * 128).fill(f16FromF64(0.1)));
    const { output } = attend(p, 5, q, heads);
    for (const x of output) expect(Math.abs(x - f16Values[f16FromF64(0.1)])).toBeLessThan(1e-15);
  });

  it('doubling q and halving the scale changes nothing', () => {
    const heads = caches(p, k, v);
    const doubled = Uint16Array.from(q, (x) => f16FromF64(2 * f16Values[x]));
    expect(attend(p, scale / 2, doubled, heads)).toEqual(attend(p, scale, q, heads));
  });

  it('rounds the scale to binary32, as a kernel receives it', () => {
    const heads = caches(p, k, v);
    expect(attend(p, 0.1, q, heads)).toEqual(attend(p, Math.fround(0.1), q, heads));
  });

  it('spreads a NaN in a key over its row and a NaN in a value over its channel', () => {
    const tail = 195 * 128 + 5; // token 195 is in the residual window
    const nanKey = attend(p, scale, q, caches(p, k.with(tail, 0x7fff), v));
    expect(nanKey.output.every(Number.isNaN)).toBe(true);
    expect(nanKey.lse[0]).toBeNaN();
    const nanValue = attend(p, scale, q, caches(p, k, v.with(tail, 0x7fff)));
    expect([...nanValue.output].flatMap((x, d) => (Number.isNaN(x) ? [d] : []))).toEqual([5]);
  });
});
