// Tests of pack.ts: each code and parameter is where the layout says, checked by walking the layout
// from the kernel's side (lane, word, bit) instead of from the element's side.
import { describe, expect, it } from 'vitest';
import {
  packPlainRecord,
  packRecord,
  recordBytes,
  stageBytes,
  unpackPlainRecord,
  unpackRecord,
} from './pack.js';
import { parameterCounts, type Quantized } from './quantize.js';
import { channelGroup, type Scheme } from './scheme.js';
import { draws } from './simulated/draw.js';

interface Shape {
  readonly scheme: Scheme;
  readonly headSize: number;
}

const shapes: Shape[] = ([4, 2, 8] as const).flatMap((bits) =>
  (['channel', 'token'] as const).flatMap((kAxis) =>
    [128, 64, 256].flatMap((headSize) =>
      ([128, 64, 32, 256] as const).flatMap((group) => {
        if (group === 256 && (kAxis === 'channel' || headSize !== 256)) return [];
        return [{ scheme: { format: 'bitdecoding', kAxis, bits, group } as const, headSize }];
      }),
    ),
  ),
);

function randomQuantized(s: Shape, tensor: 'k' | 'v', seed: number): Quantized {
  const draw = draws(seed);
  const parameters = parameterCounts(s.scheme, 128, s.headSize)[tensor];
  return {
    codes: Uint8Array.from({ length: 128 * s.headSize }, () => draw.below(2 ** s.scheme.bits)),
    scales: Uint16Array.from({ length: parameters }, () => draw.below(65536)),
    zeros: Uint16Array.from({ length: parameters }, () => draw.below(65536)),
  };
}

/**
 * Code that a lane finds in fragment register a, half h, of k-step ks and row tile mt, read as a
 * kernel reads: loads of up to four words of a lane at once, then a field of one of them.
 */
function fragmentCode(bits: number, steps: number, words: DataView) {
  const perLane = (steps * bits) / 4;
  const perLoad = Math.min(perLane, 4);
  return (mt: number, ks: number, lane: number, a: number, h: number): number => {
    const word = { 8: 2 * ks + (a >> 1), 4: ks, 2: ks >> 1 }[bits] as number;
    const load = mt * (perLane / perLoad) + Math.trunc(word / perLoad);
    const value = words.getUint32(4 * (perLoad * (32 * load + lane) + (word % perLoad)), true);
    const byte = (a & 1) + 2 * h;
    const inByte = { 8: 0, 4: 4 * (a >> 1), 2: 4 * (ks & 1) + 2 * (a >> 1) }[bits] as number;
    return (value >>> (8 * byte + inByte)) & (2 ** bits - 1);
  };
}

describe.each(shapes)(
  'record128, $scheme.kAxis, $scheme.bits bits, $scheme.group, $headSize',
  (s) => {
    const { scheme, headSize } = s;
    const k = randomQuantized(s, 'k', 1);
    const v = randomQuantized(s, 'v', 2);
    const record = packRecord(scheme, headSize, { k, v });
    const stages = stageBytes(scheme, headSize);
    const wordBytes = (128 * headSize * scheme.bits) / 8;

    it('unpacks to what was packed', () => {
      const found = unpackRecord(scheme, headSize, record);
      for (const [own, expected] of [
        [found.k, k],
        [found.v, v],
      ]) {
        expect(Buffer.from(own.codes).equals(Buffer.from(expected.codes))).toBe(true);
        expect([...own.scales]).toEqual([...expected.scales]);
        expect([...own.zeros]).toEqual([...expected.zeros]);
      }
    });

    it('gives every lane of mma.m16n8k16 the codes of its A fragment', () => {
      for (const tensor of ['k', 'v'] as const) {
        const words = new DataView(record.buffer, tensor === 'k' ? 0 : stages.k, wordBytes);
        const { codes } = tensor === 'k' ? k : v;
        const [rows, columns] = tensor === 'k' ? [128, headSize] : [headSize, 128];
        const code = fragmentCode(scheme.bits, columns / 16, words);
        for (let tile = 0; tile < rows * columns * 2; tile++) {
          const [h, a, lane] = [tile & 1, (tile >> 1) & 3, (tile >> 3) & 31];
          const ks = (tile >> 8) % (columns / 16);
          const mt = Math.floor((tile >> 8) / (columns / 16));
          if (mt >= rows / 16) break;
          // PTX ISA, fragments of mma.m16n8k16: rows g and g + 8, columns 2c + h and 8 more.
          const row = mt * 16 + (lane >> 2) + 8 * (a & 1);
          const column = ks * 16 + 2 * (lane & 3) + h + 8 * (a >> 1);
          const index = tensor === 'k' ? row * headSize + column : column * headSize + row;
          const found = code(mt, ks, lane, a, h);
          if (found !== codes[index])
            expect(found, `${tensor} ${row},${column}`).toBe(codes[index]);
        }
      }
    });

    it('keeps params per channel so that four values of one lane stand together', () => {
      if (scheme.kAxis === 'token') return;
      const params = new DataView(record.buffer, wordBytes);
      for (let g = 0; g < 128 / scheme.group; g++) {
        for (let d = 0; d < headSize; d++) {
          const c = (d % 8) >> 1; // the lane's column pair within 8 channels
          const place = (c * (headSize / 16) + (d >> 4)) * 4 + ((d >> 3) & 1) * 2 + (d & 1);
          const scale = params.getUint16(4 * headSize * g + 2 * place, true);
          const zero = params.getUint16(4 * headSize * g + 2 * headSize + 2 * place, true);
          const at = g * headSize + d;
          expect([scale, zero]).toEqual([k.scales[at], k.zeros[at]]);
        }
      }
    });

    it('keeps params per token group by group, scale in the low half', () => {
      const groups = headSize / channelGroup(scheme, headSize);
      const perToken = scheme.kAxis === 'token' ? (['k', 'v'] as const) : (['v'] as const);
      for (const tensor of perToken) {
        const stage = tensor === 'k' ? 0 : stages.k;
        const params = new DataView(record.buffer, stage + wordBytes);
        const { scales, zeros } = tensor === 'k' ? k : v;
        for (let i = 0; i < 128 * groups; i++) {
          const [group, token] = [Math.floor(i / 128), i % 128];
          const index = token * groups + group;
          const pair = (scales[index] | (zeros[index] << 16)) >>> 0;
          expect(params.getUint32(4 * i, true)).toBe(pair);
        }
      }
    });
  },
);

describe('a record of format "fp16"', () => {
  const scheme: Scheme = { format: 'fp16', kAxis: 'channel', bits: 16, group: 128 };

  it('is K row after row, then V, little endian', () => {
    const k = Uint16Array.from({ length: 128 * 64 }, (_, i) => i);
    const v = k.map((x) => 65535 - x);
    const record = packPlainRecord(k, v);
    expect(record.length).toBe(recordBytes(scheme, 64));
    const view = new DataView(record.buffer);
    expect(view.getUint16(2 * 300, true)).toBe(300);
    expect(view.getUint16(2 * (k.length + 300), true)).toBe(65235);
    expect(unpackPlainRecord(scheme, 64, record)).toEqual({ k, v });
    expect(() => unpackPlainRecord(scheme, 128, record)).toThrow(/65536 are required/);
  });
});

describe('recordBytes', () => {
  const scheme = (change: Partial<Scheme>): Scheme => ({
    ...{ format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 },
    ...change,
  });

  it('is what the words and parameters of both tensors take', () => {
    expect(recordBytes(scheme({}), 128)).toBe(17408);
    expect(recordBytes(scheme({ bits: 2 }), 128)).toBe(9216);
    expect(recordBytes(scheme({ bits: 8 }), 128)).toBe(2 * 16384 + 1024);
    // 64 channels: K has 64 scales and zeros, V 128 of each.
    expect(recordBytes(scheme({}), 64)).toBe(2 * 4096 + 4 * 64 + 4 * 128);
    expect(recordBytes(scheme({ kAxis: 'token', group: 256 }), 256)).toBe(2 * 16384 + 1024);
    expect(recordBytes(scheme({ kAxis: 'token', group: 32 }), 256)).toBe(2 * (16384 + 4096));
  });

  it('is required of a record that is unpacked', () => {
    expect(() => unpackRecord(scheme({}), 128, new Uint8Array(17407))).toThrow(
      /17408 are required/,
    );
  });
});
