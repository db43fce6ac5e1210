// record128 as a spec against pack.ts: two programs for one layout.
import { expect, it } from 'vitest';
import { f16Values } from '../format.js';
import { packRecord, recordBytes } from '../pack.js';
import { emptyQuantized, quantizeK, quantizeV } from '../quantize.js';
import { draws, normalF16 } from '../simulated/draw.js';
import type { HeadTensor } from './format-spec.js';
import { record128, schemeOf } from './record128.js';

const x = normalF16(draws(1), 256 * 128, 1, 2);
const values = Float64Array.from(x, (bits) => f16Values[bits]);

for (const bits of [4, 2]) {
  for (const group of [128, 64, 32]) {
    it(`packs the bytes of packRecord: ${bits} bits, groups of ${group}`, () => {
      for (const tensor of ['k', 'v'] as const) {
        const t: HeadTensor = { tensor, tokens: 256, headSize: 128, bits, group, input: 'f16' };
        const { stages } = record128.pack(t, record128.quantize(t, values));
        const scheme = schemeOf(t);
        const half = recordBytes(scheme) / 2;
        for (let record = 0; record < 2; record++) {
          const rows = x.subarray(record * 16384, (record + 1) * 16384);
          const empty = emptyQuantized(128, 128, group);
          const bytes =
            tensor === 'k'
              ? packRecord(scheme, quantizeK(scheme, rows, 128, 128), empty).subarray(0, half)
              : packRecord(scheme, empty, quantizeV(scheme, rows, 128, 128)).subarray(half);
          const own = stages.subarray(record * half, (record + 1) * half);
          expect(Buffer.from(own).equals(Buffer.from(bytes))).toBe(true);
        }
      }
    });
  }
}

it('refuses tokens that do not fill a record', () => {
  const t: HeadTensor = {
    tensor: 'v',
    tokens: 130,
    headSize: 128,
    bits: 4,
    group: 32,
    input: 'f16',
  };
  expect(record128.error(t)).toBe('record128: tokens: 130 is not a multiple of 128, one record');
});
