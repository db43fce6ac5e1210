// Tests of the two BitDecoding formats: places worked out by following one thread of the packing
// kernel through its loops, and the arithmetic against quantize.ts.
import { describe, expect, it } from 'vitest';
import { f16FromF64, f16Values } from '../format.js';
import { quantizeK, quantizeV } from '../quantize.js';
import { draws, normalF16 } from '../simulated/draw.js';
import { bitdecodingKChannel } from './bitdecoding-k-channel.js';
import { bitdecodingKTensor } from './bitdecoding-k-tensor.js';
import { type FormatSpec, groupIndex, type HeadTensor, type Place } from './format-spec.js';
import { oneGroup } from './one-group.js';

function tensor(change: Partial<HeadTensor>): HeadTensor {
  const t = { tensor: 'k', tokens: 256, headSize: 128, bits: 4, group: 128, input: 'f16' } as const;
  return { ...t, ...change };
}

const word = (place: Place) => [place.byte >> 1, 8 * (place.byte & 1) + place.shift];

/**
 * The registers of one thread: (token, channel) of register `e` of step (n, k), B operand, 4 warps.
 */
function element(thread: number, n: number, k: number, e: number): [number, number] {
  const [warp, lane] = [thread >> 5, thread & 31];
  const alongN = 32 * n + 8 * warp + (lane >> 2);
  const alongK = 16 * k + 2 * (lane & 3) + (e & 1) + 8 * (e >> 1);
  return [alongN, alongK];
}

/** Checks places of parameters of every thread's registers: [token, channel, row, column, half]. */
function expectParameters(
  f: FormatSpec,
  t: HeadTensor,
  entries: Iterable<[number, number, number, number, number]>,
  byteOf: (row: number, column: number) => number,
): void {
  let wrong = 0;
  let count = 0;
  for (const [token, channel, row, column, half] of entries) {
    const index = groupIndex(f.axisOf[t.tensor], t, token, channel);
    if (f.scalePlace(t, index).byte !== byteOf(row, column) + 2 * half) wrong++;
    count++;
  }
  expect(wrong).toBe(0);
  expect(count).toBeGreaterThan(1000);
}

describe('bitdecoding-k-channel', () => {
  it('puts 4-bit K tokens 32 apart into one word', () => {
    const place = (token: number, channel: number) =>
      word(bitdecodingKChannel.codePlace(tensor({}), token, channel));
    expect([0, 32, 64, 96].map((token) => place(token, 5))).toEqual([
      [5, 0],
      [5, 4],
      [5, 8],
      [5, 12],
    ]);
    expect(place(31, 127)).toEqual([31 * 128 + 127, 0]);
    expect(place(128 + 33, 2)).toEqual([33 * 128 + 2, 4]); // block 1, row 32 + 1, field 1
  });

  it('puts 2-bit K tokens 32 apart into one word, 256 to a block', () => {
    const t = tensor({ bits: 2, tokens: 512 });
    const place = (token: number) => word(bitdecodingKChannel.codePlace(t, token, 5));
    expect([0, 32, 224, 255, 256].map(place)).toEqual([
      [5, 0],
      [5, 2],
      [5, 14],
      [31 * 128 + 5, 14],
      [32 * 128 + 5, 0],
    ]);
  });

  it('puts V channels 32 apart into one word, 16 apart at 2 bits', () => {
    const v = tensor({ tensor: 'v' });
    const place = (t: HeadTensor, channel: number) =>
      word(bitdecodingKChannel.codePlace(t, 3, channel));
    expect([0, 32, 97, 127].map((channel) => place(v, channel))).toEqual([
      [96, 0],
      [96, 4],
      [97, 12],
      [127, 12],
    ]);
    const narrow = tensor({ tensor: 'v', bits: 2 });
    expect([0, 16, 127].map((channel) => place(narrow, channel))).toEqual([
      [48, 0],
      [48, 2],
      [63, 14],
    ]);
  });

  it('places K params where each thread of the kernel stores its registers', () => {
    for (const bits of [4, 2]) {
      const [block, steps] = bits === 4 ? [128, 4] : [256, 8];
      for (const group of [128, 64, 32]) {
        const t = tensor({ bits, group, tokens: 2 * block });
        const groups = block / group;
        // scales_k(m, i): register m % 4 of group m / 4, step i; two halves make the half2 j = m /
        // 2.
        function* entries(): Generator<[number, number, number, number, number]> {
          for (let thread = 0; thread < 128; thread++) {
            for (let m = 0; m < 4 * groups; m++) {
              for (let i = 0; i < 8; i++) {
                const n = Math.floor(m / 4) * (steps / groups);
                const [token, channel] = element(thread, n, i, m % 4);
                const j = m >> 1;
                const column = 8 * i + 4 * Math.floor(j / groups) + (thread % 4);
                yield [block + token, channel, groups + (j % groups), column, m & 1];
              }
            }
          }
        }
        const byteOf = (row: number, column: number) => 4 * (row * 128 + column);
        expectParameters(bitdecodingKChannel, t, entries(), byteOf);
        const [scale, zero] = [
          bitdecodingKChannel.scalePlace(t, 3),
          bitdecodingKChannel.zeroPlace?.(t, 3),
        ];
        expect(zero).toEqual({ ...scale, byte: scale.byte + 4 * 64 });
      }
    }
  });

  it('places V params where each thread of the kernel stores its registers', () => {
    for (const group of [128, 64, 32]) {
      const t = tensor({ tensor: 'v', group });
      const groups = 128 / group;
      function* entries(): Generator<[number, number, number, number, number]> {
        for (let thread = 0; thread < 128; thread++) {
          for (let m = 0; m < 4 * groups; m++) {
            for (let i = 0; i < 16; i++) {
              const [channel, token] = element(thread, Math.floor(m / 4) * (4 / groups), i, m % 4);
              const j = m >> 1;
              const row = 128 * (i >> 3) + 8 * (i % 8) + 4 * Math.floor(j / groups) + (thread % 4);
              yield [token, channel, row, j % groups, m & 1];
            }
          }
        }
      }
      // (groups, tokens): the column is the slow axis
      const byteOf = (row: number, column: number) => 4 * (column * 256 + row);
      expectParameters(bitdecodingKChannel, t, entries(), byteOf);
      const [scale, zero] = [
        bitdecodingKChannel.scalePlace(t, 3),
        bitdecodingKChannel.zeroPlace?.(t, 3),
      ];
      expect(zero).toEqual({ ...scale, byte: scale.byte + 4 * 64 });
    }
  });

  it('refuses tokens that do not fill a block', () => {
    expect(bitdecodingKChannel.error(tensor({ tokens: 64, group: 32 }))).toBe(
      'bitdecoding-k-channel: tokens: 64 is not a multiple of 128, the block of 4 bits',
    );
    expect(bitdecodingKChannel.error(tensor({ tokens: 128, bits: 2 }))).toBe(
      'bitdecoding-k-channel: tokens: 128 is not a multiple of 256, the block of 2 bits',
    );
    expect(bitdecodingKChannel.error(tensor({ headSize: 64 }))).toContain('headSize: 64');
  });
});

describe('bitdecoding-k-tensor', () => {
  it('puts K tokens 32 apart into one word, in the row that the copy of the tile gives it', () => {
    const place = (token: number, channel: number) =>
      word(bitdecodingKTensor.codePlace(tensor({}), token, channel));
    // channel 16 k + c: row 32 (k mod 4) + r, word 16 floor(k / 4) + c of 32
    expect(place(0, 0)).toEqual([0, 0]);
    expect(place(96, 0)).toEqual([0, 12]);
    expect(place(5, 17)).toEqual([(32 + 5) * 32 + 1, 0]);
    expect(place(128 + 37, 127)).toEqual([(128 + 96 + 5) * 32 + 31, 4]);
  });

  it('places K params where each thread of the kernel stores its registers', () => {
    for (const group of [128, 64, 32]) {
      const t = tensor({ group });
      const groups = 128 / group;
      function* entries(): Generator<[number, number, number, number, number]> {
        for (let thread = 0; thread < 128; thread++) {
          // scales_k_g(i), i = n groups + g: register row n, channel group g; half2 j = i / 2
          for (let i = 0; i < 4 * groups; i++) {
            const j = i >> 1;
            for (let k = 0; k < 8 / groups; k++) {
              const step = (i % groups) * (8 / groups) + k;
              const [token, channel] = element(thread, Math.floor(i / groups), step, 0);
              const row = 128 + 32 * Math.floor(j / groups) + (thread >> 2);
              yield [128 + token, channel, row, j % groups, i & 1];
            }
          }
        }
      }
      const byteOf = (row: number, column: number) => 4 * (column * 256 + row);
      expectParameters(bitdecodingKTensor, t, entries(), byteOf);
      const [scale, zero] = [
        bitdecodingKTensor.scalePlace(t, 3),
        bitdecodingKTensor.zeroPlace?.(t, 3),
      ];
      expect(zero).toEqual({ ...scale, byte: scale.byte + 4 * 64 });
    }
  });

  it('lays V and 2-bit K out like V of k-channel', () => {
    for (const t of [
      tensor({ tensor: 'v' }),
      tensor({ bits: 2 }),
      tensor({ tensor: 'v', bits: 2 }),
    ]) {
      const v = { ...t, tensor: 'v' } as const;
      for (let i = 0; i < 500; i++) {
        const [token, channel] = [(i * 37) % 256, (i * 53) % 128];
        expect(bitdecodingKTensor.codePlace(t, token, channel)).toEqual(
          bitdecodingKChannel.codePlace(v, token, channel),
        );
        expect(bitdecodingKTensor.scalePlace(t, token)).toEqual(
          bitdecodingKChannel.scalePlace(v, token),
        );
      }
    }
  });
});

describe('arithmetic', () => {
  const x = normalF16(draws(4), 256 * 128, 1, 3);
  const values = Float64Array.from(x, (bits) => f16Values[bits]);

  it('is that of quantize.ts, along tokens and along channels', () => {
    const scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 32 } as const;
    const k = quantizeK(scheme, x, 256, 128);
    const v = quantizeV(scheme, x, 256, 128);
    const found = [
      [bitdecodingKChannel.quantize(tensor({ group: 32 }), values), k],
      [bitdecodingKChannel.quantize(tensor({ group: 32, tensor: 'v' }), values), v],
      [bitdecodingKTensor.quantize(tensor({ group: 32 }), values), v],
    ] as const;
    for (const [codes, expected] of found) {
      expect(Buffer.from(codes.codes).equals(Buffer.from(expected.codes))).toBe(true);
      expect([...codes.scales]).toEqual([...expected.scales]);
      expect([...codes.zeros]).toEqual([...expected.zeros]);
    }
  });

  it('dequantises with one rounding to fp16', () => {
    const t = tensor({ tensor: 'v', group: 32 });
    const found = oneGroup(bitdecodingKChannel, t, [0.1, 7.3, 3]);
    const min = f16Values[f16FromF64(0.1)];
    found.codes.forEach((code, i) => {
      expect(found.values[i]).toBe(f16Values[f16FromF64(code * found.scale + min)]);
    });
    expect(found.codes).toEqual([0, 15, 6]);
  });

  it('shows what the original makes of degenerate groups', () => {
    const inf = Number.POSITIVE_INFINITY;
    const group = (...input: number[]) =>
      oneGroup(bitdecodingKTensor, tensor({ group: 32 }), input);
    expect(group(3).values).toEqual([3]);
    expect(group(inf, 1, 2).values).toEqual([1, 1, 1]);
    expect(group(-inf, 1).values).toEqual([-inf, -inf]);
    expect(group(Number.NaN, 0, 15).values).toEqual([0, 0, 15]);
    expect(group(0, 6 * 2 ** -24)).toMatchObject({ codes: [0, 15], scale: 0, values: [0, 0] });
  });
});
