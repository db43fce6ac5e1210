// Tests of onnx-gqa.ts: what ONNX Runtime itself stored, and groups worked out by hand.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { recordedBytes as bytes, recordedHalves as halves } from '../simulated/recorded.js';
import type { HeadTensor } from './format-spec.js';
import { oneGroup } from './one-group.js';
import { onnxGqa } from './onnx-gqa.js';

interface Recorded {
  cases: {
    name: string;
    bits: number;
    tokens: number;
    headSize: number;
    x: string;
    scale: string;
    codes: string;
  }[];
}

describe('onnx-gqa-per-channel, recorded from ONNX Runtime', () => {
  const path = new URL('../../corpus/vectors/formats/onnx-gqa.json', import.meta.url);
  const recorded: Recorded = JSON.parse(readFileSync(path, 'utf8'));

  it('has all its cases', () => expect(recorded.cases.length).toBeGreaterThanOrEqual(16));

  it.each(recorded.cases)('has the same codes: $name, $bits bits', (c) => {
    const { bits, tokens, headSize } = c;
    const t = { tensor: 'k', tokens, headSize, bits, group: 'all', input: 'f16' } as const;
    const x = halves(c.x);
    const packed = onnxGqa.pack(t, onnxGqa.quantize(t, x));
    expect([...packed.scale]).toEqual([...bytes(c.scale)]);
    expect([...packed.codes]).toEqual([...bytes(c.codes)]);
  });
});

describe('onnx-gqa-per-channel', () => {
  const tensor = (bits: number): HeadTensor => ({
    ...{ tensor: 'v', tokens: 32, headSize: 2, bits },
    ...{ group: 'all', input: 'f16' },
  });

  it('rounds half to even, and NaN is the largest code', () => {
    expect(oneGroup(onnxGqa, tensor(8), [127, 0.5, 1.5, -2.5, Number.NaN])).toMatchObject({
      codes: [127, 0, 2, 254, 127],
      scale: 1,
      values: [127, 0, 2, -2, 127],
    });
  });

  it('stores code + 8 at 4 bits', () => {
    expect(oneGroup(onnxGqa, tensor(4), [7, -7, 0, -Infinity, Infinity])).toMatchObject({
      codes: [15, 1, 8, 0, 15],
      scale: 1,
      values: [7, -7, 0, -8, 7],
    });
  });

  it('has whole bytes, and none without tokens', () => {
    const odd = (bits: number) => onnxGqa.error({ ...tensor(bits), headSize: 3 });
    expect(odd(4)).toBe('onnx-gqa-per-channel: headSize: 3 is odd at 4 bits');
    expect([odd(8), onnxGqa.error(tensor(4))]).toEqual([null, null]);
    expect(onnxGqa.arrays({ ...tensor(4), tokens: 0 })).toEqual({ codes: 0, scale: 0 });
  });

  it('has a scale of 1 where nothing has a magnitude', () => {
    expect(oneGroup(onnxGqa, tensor(8), [0])).toMatchObject({ codes: [0], scale: 1 });
  });
});
