// Tests of llama-q4-0.ts and llama-q8-0.ts: the recorded blocks of ggml's own functions, and groups
// worked out by hand.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { recordedBytes as bytes, recordedFloats as floats } from '../simulated/recorded.js';
import type { FormatSpec, HeadTensor } from './format-spec.js';
import { llamaQ40 } from './llama-q4-0.js';
import { llamaQ80 } from './llama-q8-0.js';
import { oneGroup } from './one-group.js';

interface Recorded {
  cases: { name: string; x: string; blocks: string; dequantized: string }[];
}

function tensor(f: FormatSpec, headSize = 32): HeadTensor {
  return { tensor: 'v', tokens: 1, headSize, bits: f.bits[0], group: 32, input: 'f32' };
}

for (const [f, least] of [
  [llamaQ40, 16],
  [llamaQ80, 15],
] as const) {
  describe(`${f.format}, recorded from ggml`, () => {
    const path = new URL(`../../corpus/vectors/formats/${f.format}.json`, import.meta.url);
    const recorded: Recorded = JSON.parse(readFileSync(path, 'utf8'));

    it('has all its cases', () => expect(recorded.cases.length).toBeGreaterThanOrEqual(least));

    it.each(recorded.cases)('has the same blocks and the same values back: $name', (c) => {
      const x = Float64Array.from(floats(c.x));
      const t = tensor(f, x.length);
      const codes = f.quantize(t, x);
      const { blocks } = f.pack(t, codes);
      const expected = bytes(c.blocks);
      const wrong = [...expected.keys()].filter((i) => blocks[i] !== expected[i]);
      expect(wrong).toEqual([]);
      const back = Float32Array.from(f.dequantize(t, f.unpack(t, { blocks: expected })));
      const original = floats(c.dequantized);
      const differs = (i: number) => !Object.is(back[i], original[i]);
      expect([...original.keys()].filter(differs)).toEqual([]);
    });
  });
}

describe('llama-q4_0', () => {
  const group = (...values: number[]) => oneGroup(llamaQ40, tensor(llamaQ40), values);

  it('gives the element of largest magnitude code 0 and rounds half up', () => {
    // d = -8 / -8 = 1: codes are floor(x + 8.5)
    expect(group(-8, 7, 8, 0, 0.5, -0.5, 1.5)).toMatchObject({
      codes: [0, 15, 15, 8, 9, 8, 10], // 8 would be code 16: cut to 15
      scale: 1,
      values: [-8, 7, 7, 0, 1, 0, 2],
    });
    expect(group(8, -8)).toMatchObject({ codes: [0, 15], scale: -1, values: [8, -7] });
  });

  it('has a negative zero as scale of a block of zeros', () => {
    expect(group(0)).toMatchObject({ codes: [8], scale: -0, values: [-0] });
  });

  it('gives code 0 where the inverse scale overflows', () => {
    const t = { ...tensor(llamaQ40), input: 'f32' } as const;
    expect(oneGroup(llamaQ40, t, [2 ** -146, -(2 ** -147), 0]).codes).toEqual([0, 0, 0]);
  });

  it('keeps an Inf and loses the others; takes a NaN for the largest', () => {
    const inf = Number.POSITIVE_INFINITY;
    const nan = Number.NaN;
    expect(group(inf, 1)).toMatchObject({ codes: [0, 8], scale: -inf, values: [inf, nan] });
    expect(group(nan, -8, 4)).toMatchObject({ codes: [0, 0, 12], scale: 1, values: [-8, -8, 4] });
  });
});

describe('llama-q8_0', () => {
  const group = (...values: number[]) => oneGroup(llamaQ80, tensor(llamaQ80), values);

  it('rounds half away from zero', () => {
    expect(group(127, 0.5, -0.5, 2.5, -127)).toMatchObject({
      codes: [127, 1, 255, 3, 129],
      scale: 1,
      values: [127, 1, -1, 3, -127],
    });
  });

  it('turns a block with Inf to NaN and a NaN to 0', () => {
    const nan = Number.NaN;
    expect(group(Number.NEGATIVE_INFINITY, 1)).toMatchObject({ codes: [0, 0], values: [nan, nan] });
    expect(group(nan, 127)).toMatchObject({ codes: [0, 127], scale: 1 });
    expect(group(nan)).toMatchObject({ codes: [0], scale: 0 });
  });
});
