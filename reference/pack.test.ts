// Tests of pack.ts: each code and parameter is where the layout says, checked by walking the layout
// from the kernel's side (lane, word, bit) instead of from the element's side.
import { describe, expect, it } from 'vitest';
import { packRecord, recordBytes, unpackRecord } from './pack.js';
import type { Quantized } from './quantize.js';
import type { Scheme } from './scheme.js';
import { draws } from './simulated/draw.js';

const schemes: Scheme[] = ([4, 2] as const).flatMap((bits) =>
  ([128, 64, 32] as const).map((group) => ({
    ...({ format: 'bitdecoding', kAxis: 'channel' } as const),
    ...{ bits, group },
  })),
);

function randomQuantized(scheme: Scheme, seed: number): Quantized {
  const draw = draws(seed);
  const parameters = (128 * 128) / scheme.group;
  return {
    codes: Uint8Array.from({ length: 128 * 128 }, () => draw.below(2 ** scheme.bits)),
    scales: Uint16Array.from({ length: parameters }, () => draw.below(65536)),
    zeros: Uint16Array.from({ length: parameters }, () => draw.below(65536)),
  };
}

/** Code that a lane finds in fragment register a, half h, of k-step ks and row tile mt. */
function fragmentCode(bits: 4 | 2, words: DataView, mt: number, ks: number, lane: number) {
  return (a: number, h: number): number => {
    if (bits === 4) {
      const word = words.getUint32((((mt * 2 + (ks >> 2)) * 32 + lane) * 4 + (ks & 3)) * 4, true);
      return (word >>> ((a >> 1) * 4 + (a & 1) * 8 + 16 * h)) & 15;
    }
    const word = words.getUint32(((mt * 32 + lane) * 4 + (ks >> 1)) * 4, true);
    return (word >>> ((ks & 1) * 4 + (a >> 1) * 2 + (a & 1) * 8 + 16 * h)) & 3;
  };
}

describe.each(schemes)('record128, $bits bits, groups of $group', (scheme) => {
  const k = randomQuantized(scheme, 1);
  const v = randomQuantized(scheme, 2);
  const record = packRecord(scheme, k, v);
  const half = recordBytes(scheme) / 2;
  const wordBytes = (128 * 128 * scheme.bits) / 8;

  it('unpacks to what was packed', () => {
    expect(unpackRecord(scheme, record)).toEqual({ k, v });
  });

  it('gives every lane of mma.m16n8k16 the codes of its A fragment', () => {
    for (const tensor of ['k', 'v'] as const) {
      const words = new DataView(record.buffer, tensor === 'k' ? 0 : half, wordBytes);
      const { codes } = tensor === 'k' ? k : v;
      for (let tile = 0; tile < 64 * 32; tile++) {
        const [mt, ks, lane] = [tile >> 8, (tile >> 5) & 7, tile & 31];
        const code = fragmentCode(scheme.bits, words, mt, ks, lane);
        for (let a = 0; a < 4; a++) {
          for (let h = 0; h < 2; h++) {
            // PTX ISA, fragments of mma.m16n8k16: rows g and g + 8, columns 2c + h and 8 more.
            const row = mt * 16 + (lane >> 2) + 8 * (a & 1);
            const col = ks * 16 + 2 * (lane & 3) + h + 8 * (a >> 1);
            const index = tensor === 'k' ? row * 128 + col : col * 128 + row;
            if (code(a, h) !== codes[index]) expect(code(a, h), `${row},${col}`).toBe(codes[index]);
          }
        }
      }
    }
  });

  it('keeps K params by channel: four 16-bit values of one lane stand together', () => {
    const params = new DataView(record.buffer, wordBytes);
    for (let g = 0; g < 128 / scheme.group; g++) {
      for (let d = 0; d < 128; d++) {
        const c = (d % 8) >> 1; // the lane's column pair within 8 channels
        const place = (c * 8 + (d >> 4)) * 4 + ((d >> 3) & 1) * 2 + (d & 1);
        const scale = params.getUint16(512 * g + 2 * place, true);
        const zero = params.getUint16(512 * g + 256 + 2 * place, true);
        expect([scale, zero]).toEqual([k.scales[g * 128 + d], k.zeros[g * 128 + d]]);
      }
    }
  });

  it('keeps V params by token, scale in the low half', () => {
    const params = new DataView(record.buffer, half + wordBytes);
    const groups = 128 / scheme.group;
    for (let i = 0; i < 128 * groups; i++) {
      const [y, token] = [Math.floor(i / 128), i % 128];
      const pair = params.getUint32(4 * i, true);
      const index = token * groups + y;
      expect(pair).toBe((v.scales[index] | (v.zeros[index] << 16)) >>> 0);
    }
  });
});

describe('recordBytes', () => {
  it('is 17,408 bytes at 4 bits and 9,216 at 2 bits for groups of 128', () => {
    expect(recordBytes(schemes[0])).toBe(17408);
    expect(recordBytes(schemes[3])).toBe(9216);
  });

  it('is required of a record that is unpacked', () => {
    expect(() => unpackRecord(schemes[0], new Uint8Array(17407))).toThrow(/17408 are required/);
  });
});
