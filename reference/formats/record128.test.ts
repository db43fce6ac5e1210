// record128 as a spec against pack.ts: two programs for one layout.
import { expect, it } from 'vitest';
import { type ElementType, elementFromF64, elementValues } from '../format.js';
import { packRecord, stageBytes } from '../pack.js';
import { quantizeRecord } from '../quantize.js';
import { schemeError } from '../scheme.js';
import { draws } from '../simulated/draw.js';
import type { HeadTensor } from './format-spec.js';
import { record128, record128KToken, schemeOf } from './record128.js';

/** Normal values of a type, as words; of bf16 half of them are too large for fp16. */
function normal(type: ElementType, count: number): Uint16Array {
  const draw = draws(1);
  const unit = type === 'bf16' ? 2 ** 15 : 1;
  return Uint16Array.from({ length: count }, () =>
    elementFromF64(type, unit * (2 + draw.normal())),
  );
}

const axes = [
  ['channel', record128],
  ['token', record128KToken],
] as const;

const shapes = axes.flatMap(([kAxis, format]) =>
  format.bits.flatMap((bits) =>
    format.headSizes.flatMap((headSize) =>
      format.groups.flatMap((group) => {
        if (typeof group !== 'number' || group > headSize) return [];
        return [{ kAxis, format, bits, headSize, group }];
      }),
    ),
  ),
);

it.each(shapes)(
  'packs the bytes of packRecord: $format.format, $bits bits, $headSize, $group',
  ({ kAxis, format, bits, headSize, group }) => {
    const type = bits === 8 ? 'bf16' : 'fp16';
    const size = 128 * headSize;
    const x = normal(type, 2 * size);
    const values = Float64Array.from(x, (word) => elementValues(type)[word]);
    for (const tensor of ['k', 'v'] as const) {
      const input = type === 'bf16' ? 'bf16' : 'f16';
      const t: HeadTensor = { tensor, tokens: 256, headSize, bits, group, input };
      const { stages } = format.pack(t, format.quantize(t, values));
      const scheme = schemeOf(kAxis, t);
      const bytes = stageBytes(scheme, headSize);
      for (let record = 0; record < 2; record++) {
        const rows = x.subarray(record * size, (record + 1) * size);
        const whole = packRecord(
          scheme,
          headSize,
          quantizeRecord(scheme, rows, rows, headSize, type),
        );
        const expected = tensor === 'k' ? whole.subarray(0, bytes.k) : whole.subarray(bytes.k);
        const own = stages.subarray(record * bytes[tensor], (record + 1) * bytes[tensor]);
        expect(Buffer.from(own).equals(Buffer.from(expected))).toBe(true);
      }
    }
  },
);

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

it.each(axes)('has the head sizes and the scheme of its kernels, K per %s', (kAxis, format) => {
  expect(format.format).toBe(kAxis === 'channel' ? 'record128' : 'record128-k-token');
  const t: HeadTensor = {
    ...{ tensor: 'k', tokens: 128, headSize: 128, bits: 4, group: 32, input: 'f16' },
  };
  expect(format.error(t)).toBeNull();
  expect(format.error({ ...t, headSize: 96 })).toContain('headSize: 96 is not one of');
  const problem = { tokens: [128], queryHeads: 1, kvHeads: 1, headSize: 128 };
  expect(schemeError(schemeOf(kAxis, t), problem)).toBeNull();
});
