// Tests of cache.ts: a round trip through the bytes, exactness of dequantisation, and blindness to
// what the format leaves unspecified.
import { describe, expect, it } from 'vitest';
import {
  allRows,
  dequantized,
  keyRows,
  oneQueryToken,
  readCache,
  referenceCache,
  valueRows,
} from './cache.js';
import { f16FromF64, f16Values } from './format.js';
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
    const { cache, kResidual, vResidual } = built;
    const short = vResidual.subarray(1);
    expect(() => readCache(p, scheme, cache, short, vResidual)).toThrow(/^kResidual: length/);
    expect(() => readCache(p, scheme, cache, kResidual, short)).toThrow(/^vResidual: length/);
    expect(() => referenceCache(p, scheme, k.subarray(1), v)).toThrow(/^k: length/);
    expect(() => referenceCache(p, scheme, k, v.subarray(1))).toThrow(/^v: length/);
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

  it('takes K parameters by channel group too', () => {
    const perToken: Scheme = { ...scheme, kAxis: 'token' };
    const one = referenceCache(p, perToken, k, v);
    const [head] = readCache(p, perToken, one.cache, one.kResidual, one.vResidual);
    const rows = keyRows(head, 3, 2);
    expect(rows).toEqual(valueRows({ ...head, v: head.k }, 3, 2));
    const [code, scale] = [head.k.codes[3 * 128 + 70], f16Values[head.k.scales[3 * 2 + 1]]];
    expect(rows[70]).toBe(code * scale + f16Values[head.k.zeros[3 * 2 + 1]]);
  });

  it('is done already for rows that are numbers', () => {
    const numbers = Float64Array.from({ length: 5 * 128 }, (_, i) => i);
    const dense = { k: numbers, v: numbers.map((x) => -x) };
    const head = { ...heads[4], dense };
    expect(keyRows(head, 2, 3)).toEqual(numbers.subarray(2 * 128));
    expect(valueRows(head, 1, 2)).toEqual(dense.v.subarray(128, 3 * 128));
  });

  it('gives all rows of a head, records and tail', () => {
    const rows = allRows(heads[0], valueRows);
    expect(rows.length).toBe(130 * 128);
    expect(rows.subarray(128 * 128)).toEqual(valueRows(heads[0], 128, 2));
    expect(() => valueRows(heads[0], 127, 3)).toThrow(
      'rows 127 to 130: cross the end of the records',
    );
  });

  it('returns residual rows as they are', () => {
    const rows = valueRows(heads[0], 128, 2);
    expect([...rows]).toEqual([...heads[0].vResidual].map((b) => f16Values[b]));
    expect(valueRows(heads[0], 129, 1)).toEqual(rows.subarray(128));
  });
});

describe('a cache behind a page table', () => {
  const table = {
    ...{ pages: 5, stride: 2 },
    entries: Int32Array.from([3, -1, -1, -1, -1, -1, 0, 4]),
  };

  it('holds the same heads in other places, and nothing in spare pages', () => {
    const paged = referenceCache(p, scheme, k, v, table);
    expect(paged.cache.length).toBe(5 * 2 * recordBytes(scheme, 128));
    const page = paged.cache.length / 5;
    expect(paged.cache.subarray(page, 3 * page).every((byte) => byte === 0)).toBe(true);
    const read = readCache(p, scheme, paged.cache, paged.kResidual, paged.vResidual, table);
    expect(read).toEqual(heads);
  });

  it('keeps in a page that requests share what the first of them has', () => {
    const both: Problem = { tokens: [128, 128], queryHeads: 1, kvHeads: 1, headSize: 128 };
    const shared = { pages: 1, stride: 1, entries: Int32Array.of(0, 0) };
    const [first, other] = [k.subarray(0, 128 * 128), v.subarray(0, 128 * 128)];
    const rows = Uint16Array.from([...first, ...other]);
    const alone = { ...both, tokens: [128] };
    const { cache } = referenceCache(alone, scheme, first, first);
    expect(referenceCache(both, scheme, rows, rows, shared).cache).toEqual(cache);
  });

  it('is refused where the table names no page', () => {
    const wrong = { ...table, pages: 4 };
    expect(() => referenceCache(p, scheme, k, v, wrong)).toThrow(/is not one of 4 pages/);
  });
});

describe('rows as they came', () => {
  const plain: Scheme = { format: 'fp16', kAxis: 'channel', bits: 16, group: 128 };
  const made = referenceCache(p, plain, k, v);
  const read = readCache(p, plain, made.cache, made.kResidual, made.vResidual);

  it('are the inputs again, records and window', () => {
    expect(read.map(({ packed }) => packed)).toEqual(new Array(8).fill(0));
    expect(dequantized(p, read, keyRows)).toEqual(k);
    expect(dequantized(p, read, valueRows)).toEqual(v);
  });
});

describe('dequantised values', () => {
  it('are rounded once to the type of the problem', () => {
    const found = dequantized(p, heads, valueRows);
    const rows = valueRows(heads[0], 0, 128);
    for (const [t, d] of [
      [0, 0],
      [77, 127],
    ]) {
      expect(found[t * 2 * 128 + d]).toBe(f16FromF64(rows[t * 128 + d]));
    }
    expect(found.subarray(128 * 256, 130 * 256)).toEqual(v.subarray(128 * 256, 130 * 256));
  });
});

describe('query tokens', () => {
  it('see prefixes of their request', () => {
    const flat = oneQueryToken({ ...p, queryTokens: 3 }, heads);
    expect(flat.problem).toEqual({
      ...p,
      tokens: [128, 129, 130, 0, 0, 0, 3, 4, 5, 254, 255, 256],
    });
    expect(flat.heads.length).toBe(24);
    expect(flat.heads[4]).toBe(heads[0]); // the last token sees the request as it is
    expect(flat.heads.map(({ packed }) => packed).slice(0, 6)).toEqual(new Array(6).fill(128));
    expect(flat.heads[18].packed).toBe(254);
    expect(valueRows(flat.heads[18], 253, 1)).toEqual(valueRows(heads[6], 253, 1));
    expect(oneQueryToken(p, heads).heads).toBe(heads);
  });
});
