// Tests of the fused sums of scheduled/: bit for bit those of mma.ts where nothing is open, and
// around all of them where something is.
import { describe, expect, it } from 'vitest';
import type { HeadCache } from '../cache.js';
import { f16FromF64, f16Round, f16Values } from '../format.js';
import { dotModel, tensorDot } from '../mma.js';
import { draws } from '../simulated/draw.js';
import { codeChain, codeOperand, sortByAlign, toF32Bits, zeroExponent } from './code-chain.js';
import { addRowProducts, alignmentsOf, rowChain } from './row-chain.js';
import { dealParts, fieldWeight, partTokens, warpCount, wideChannel } from './schedule.js';

const models = [dotModel('sm_80'), dotModel('sm_90')];

describe.each(models)('chains of fused sums with F = $fraction', (model) => {
  it('of codes and an operand are those of mma.ts', () => {
    for (let seed = 0; seed < 300; seed++) {
      const draw = draws(seed);
      const bits = [8, 4, 2][seed % 3];
      const length = 64 - (seed % 16); // a request may end within a fused sum
      const weights = Int32Array.from({ length }, (_, d) => fieldWeight(bits, d));
      const spread = draw.below(25);
      const b = Float64Array.from(weights, () =>
        draw.below(6) === 0 ? 0 : f16Round(draw.normal() * 2 ** (draw.below(spread + 1) - 14)),
      );
      const codes = Uint8Array.from(weights, () => draw.below(2 ** bits) * draw.below(2));
      const operands = Array.from(codes, (c, d) => c * 2 ** (weights[d] - 24));
      const found = codeChain(model, codes, 0, codeOperand(model, b, weights), 0, length);
      expect(found * 2 ** -24).toBe(tensorDot(model, 0, operands, b));
    }
  });

  it.each(['fp16', 'bf16'] as const)('of %s rows and a query are those of mma.ts', (type) => {
    const core =
      type === 'bf16' ? dotModel(model.fraction === 25 ? 'sm_90' : 'sm_80', 'bf16') : model;
    const align = alignmentsOf(type);
    for (let seed = 0; seed < 200; seed++) {
      const draw = draws(seed);
      const word = () =>
        draw.below(5) === 0 ? 0 : f16FromF64(draw.normal() * 2 ** -draw.below(20));
      const row = Uint16Array.from({ length: 48 }, word);
      const qWords = Uint16Array.from({ length: 48 }, word);
      const values = (x: Uint16Array) => Array.from(x, (w) => wordValue(type, w));
      const q = Float64Array.from(values(qWords));
      const order = Int32Array.from(row, (_, i) => (i * 5) % 48);
      const found = rowChain(
        core,
        type,
        row,
        q,
        Int32Array.from(qWords, (w) => align[w]),
        order,
      );
      const [a, b] = [values(row), [...q]].map((x) => Array.from(order, (d) => x[d]));
      expect(found).toBe(tensorDot(core, 0, a, b));
    }
  });

  it('contain every sum of open weights', () => {
    for (let seed = 0; seed < 300; seed++) {
      const draw = draws(seed);
      const count = model.fusedProducts;
      const v = Uint16Array.from({ length: count }, () => f16FromF64(draw.normal()));
      const pairs = Array.from({ length: count }, () => {
        const x = f16FromF64(draw.unit() * 2 ** (15 - draw.below(20)));
        return [x, x + draw.below(3)].map((w) => f16Values[w]);
      });
      const start = [draw.normal(), draw.normal()].map((x) => Math.fround(x * 2 ** 10));
      start.sort((x, y) => x - y);
      const align = (x: number) => alignmentsOf('fp16')[f16FromF64(x)];
      const ends = Float64Array.from(start);
      const w = {
        low: Float64Array.from(pairs, ([x]) => x),
        high: Float64Array.from(pairs, ([, x]) => x),
        lowAlign: Int32Array.from(pairs, ([x]) => align(x)),
        highAlign: Int32Array.from(pairs, ([, x]) => align(x)),
      };
      addRowProducts(model, 'fp16', v, 0, 1, w, 0, count, ends);
      for (let i = 0; i < 20; i++) {
        const weights = pairs.map((pair) => pair[draw.below(2)]);
        const sum = tensorDot(
          model,
          start[draw.below(2)],
          weights,
          Array.from(v, (x) => f16Values[x]),
        );
        expect(sum).toBeGreaterThanOrEqual(ends[0]);
        expect(sum).toBeLessThanOrEqual(ends[1]);
      }
    }
  });
});

function wordValue(type: 'fp16' | 'bf16', word: number): number {
  if (type === 'fp16') return f16Values[word];
  const view = new DataView(new ArrayBuffer(4));
  view.setUint16(0, word);
  return view.getFloat32(0);
}

describe('integers to 24 bits', () => {
  it('toward zero', () => {
    expect([0, 5, 2 ** 24 - 1, 2 ** 24 + 1, -(2 ** 24) - 1, 2 ** 26 + 15].map(toF32Bits)).toEqual([
      0,
      5,
      2 ** 24 - 1,
      2 ** 24,
      -(2 ** 24),
      2 ** 26 + 8,
    ]);
  });

  it('indexes of a run are sorted by how they align', () => {
    const order = new Int32Array(6);
    sortByAlign(order, [3, zeroExponent, 5, 1, 1, 9], 4);
    expect([...order]).toEqual([2, 0, 3, 1, 5, 4]);
  });
});

describe('the schedule', () => {
  const packed = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 } as const;
  const plain = { format: 'fp16', kAxis: 'channel', bits: 16, group: 128 } as const;
  const head = (scheme: HeadCache['scheme'], tokens: number, all: number, headSize: number) => {
    const records = all - (all % 128);
    const isPacked = scheme.bits !== 16;
    const codes = new Uint8Array(isPacked ? records * headSize : 0);
    const kResidual = new Uint16Array((isPacked ? all - records : all) * headSize);
    return { scheme, tokens, headSize, v: { codes }, kResidual } as unknown as HeadCache;
  };

  it('deals records to warps in turn and the tail to the next', () => {
    const dealt = dealParts(head(packed, 700, 700, 128), 2, 2);
    const firsts = dealt.map((warps) => warps.map((parts) => parts.map(({ first }) => first)));
    expect(firsts).toEqual([
      [[0], [128]],
      [
        [256, 512],
        [384, 640],
      ],
    ]);
    expect(dealt[1][1][1]).toEqual({ first: 640, end: 700, isTail: true });
  });

  it('leaves out what a query token does not see', () => {
    const dealt = dealParts(head(packed, 130, 700, 128), 4, 1);
    expect(dealt).toEqual([
      [[{ first: 0, end: 128, isTail: false }], [{ first: 128, end: 130, isTail: false }], [], []],
    ]);
  });

  it('cuts rows into parts of 8 KiB', () => {
    expect([64, 128, 256].map((size) => partTokens(plain, size))).toEqual([64, 32, 16]);
    expect(partTokens(packed, 256)).toBe(128);
    const dealt = dealParts(head(plain, 140, 140, 128), 4, 1);
    expect(dealt[0].map((parts) => parts.map(({ first }) => first))).toEqual([
      [0, 128],
      [32],
      [64],
      [96],
    ]);
    expect(dealt[0][0][1].isTail).toBe(true);
  });

  it('has warps for records up to a size', () => {
    const warps = {
      warps: [
        [8192, 4],
        [16384, 2],
      ],
    } as const;
    expect(warpCount(warps, packed, 128)).toBe(4);
    expect(warpCount(warps, packed, 256)).toBe(2);
    expect(warpCount(warps, { ...packed, bits: 8 }, 256)).toBeNull();
    expect(warpCount(warps, plain, 256)).toBe(4);
  });

  it('permutes the channels of rows by lanes of four pairs', () => {
    const places = Array.from({ length: 64 }, (_, k) => wideChannel(k));
    expect(places.slice(0, 10)).toEqual([0, 1, 8, 9, 16, 17, 24, 25, 2, 3]);
    expect([...places].sort((a, b) => a - b)).toEqual(places.map((_, i) => i));
  });

  it('weighs a field by its place in the word', () => {
    expect([0, 8, 16, 24].map((column) => fieldWeight(2, column))).toEqual([0, 2, 4, 6]);
    expect([0, 8, 16, 24].map((column) => fieldWeight(4, column))).toEqual([0, 4, 0, 4]);
    expect(fieldWeight(8, 24)).toBe(0);
  });
});
