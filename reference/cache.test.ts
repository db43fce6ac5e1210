// Tests of cache.ts: a round trip through the bytes, exactness of dequantisation, and blindness to
// what the format leaves unspecified.
import { describe, expect, it } from 'vitest';
import { allRows, keyRows, readCache, referenceCache, valueRows } from './cache.js';
import { f16Values } from './format.js';
import { recordBytes } from './pack.js';
import { headRows, type Problem } from './problem.js';
import { quantizeK, quantizeV } from './quantize.js';
import type { Scheme } from './scheme.js';
import { draws, normalF16 } from './simulated/draw.js';

const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 2, group: 64 };
const p: Problem = { tokens: [130, 0, 5, 256], queryHeads: 4, kvHeads: 2, headSize: 128 };
const k = normalF16(draws(1), 391 * 2 * 128, 3);
const v = normalF16(draws(2), 391 * 2 * 128, 1, 7);
const built = referenceCache(p, scheme, k, v);
const heads = readCache(p, scheme, built.cache, built.kResidual, built.vResidual);

describe('the cache', () => {
  it('has pages for full records only, of all requests in order', () => {
    expect(built.cache.length).toBe(3 * 2 * recordBytes(scheme, 128));
    expect(heads.map((h) => [h.tokens, h.packed])).toEqual(
      [130, 0, 5, 256].flatMap((t) => [t, t].map((n) => [n, n - (n % 128)])),
    );
  });

  it('reads back the codes of each head and page and the fp16 rows of each tail', () => {
    const head = heads[7]; // request 3, KV head 1: two records
    for (const page of [0, 1]) {
      const rows = headRows(p, k, 1, 135 + 128 * page, 128);
      const part = head.k.codes.subarray(page * 16384, (page + 1) * 16384);
      expect(part).toEqual(quantizeK(scheme, rows, 128, 128).codes);
    }
    const tail = heads[0];
    expect(tail.kResidual).toEqual(headRows(p, k, 0, 128, 2));
    expect(tail.vResidual).toEqual(headRows(p, v, 0, 128, 2));
  });

  it('does not look at residual rows past the tail', () => {
    const garbage = built.vResidual.map((x, i) => {
      const [request, row] = [Math.floor(i / (128 * 256)), Math.floor(i / 256) % 128];
      return row < [2, 0, 5, 0][request] ? x : 0x7fff;
    });
    expect(readCache(p, scheme, built.cache, built.kResidual, garbage)).toEqual(heads);
  });

  it('refuses buffers of another shape', () => {
    expect(() => readCache(p, scheme, built.cache.subarray(1), k, v)).toThrow(/^cache: length/);
  });
});

describe('dequantisation', () => {
  it('is exact in float64, for the largest scale and the smallest zero too', () => {
    const draw = draws(3);
    for (let i = 0; i < 20000; i++) {
      const code = draw.below(16);
      const scale = f16Values[draw.below(0x7c00)];
      const zero = f16Values[draw.below(0x7c00) + 32768 * draw.below(2)];
      const exact = BigInt(code) * BigInt(scale * 2 ** 24) + BigInt(zero * 2 ** 24);
      expect((code * scale + zero) * 2 ** 24).toBe(Number(exact));
    }
  });

  it('takes K parameters by token group and V parameters by channel group', () => {
    const rowsK = keyRows(heads[6], 100, 60);
    const rowsV = valueRows(heads[6], 100, 60);
    const record = quantizeK(scheme, headRows(p, k, 0, 135, 128), 128, 128);
    const recordV = quantizeV(scheme, headRows(p, v, 0, 135, 128), 128, 128);
    for (const d of [0, 63, 64, 127]) {
      const key = record.codes[101 * 128 + d] * f16Values[record.scales[128 + d]];
      expect(rowsK[128 + d]).toBe(key + f16Values[record.zeros[128 + d]]);
      const parameter = 101 * 2 + (d >> 6);
      const value = recordV.codes[101 * 128 + d] * f16Values[recordV.scales[parameter]];
      expect(rowsV[128 + d]).toBe(value + f16Values[recordV.zeros[parameter]]);
    }
  });

  it('gives all rows of a head, records and tail', () => {
    const rows = allRows(heads[0], valueRows);
    expect(rows.length).toBe(130 * 128);
    expect(rows.subarray(128 * 128)).toEqual(valueRows(heads[0], 128, 2));
    expect(() => valueRows(heads[0], 127, 3)).toThrow(/cross the end of the records/);
  });

  it('returns residual rows as they are', () => {
    const rows = valueRows(heads[0], 128, 2);
    expect([...rows]).toEqual([...heads[0].vResidual].map((b) => f16Values[b]));
  });
});
