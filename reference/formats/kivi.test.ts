// Tests of kivi.ts: groups worked out by hand from new_pack.py, its packing loop written again, and
// what the fp16 steps do at their limits.
import { describe, expect, it } from 'vitest';
import { f16Round } from '../format.js';
import { draws } from '../simulated/draw.js';
import type { HeadTensor } from './format-spec.js';
import { kivi } from './kivi.js';
import { oneGroup } from './one-group.js';

function tensor(change: Partial<HeadTensor>): HeadTensor {
  const t = { tensor: 'v', tokens: 32, headSize: 32, bits: 4, group: 32, input: 'f16' } as const;
  return { ...t, ...change };
}

const group = (...values: number[]) => oneGroup(kivi, tensor({}), values);

describe('kivi', () => {
  it('rounds ties to even, where BitDecoding goes away from zero', () => {
    // range 15, scale 1
    expect(group(0, 15, 0.5, 1.5, 2.5, 7.25)).toEqual({
      codes: [0, 15, 0, 2, 2, 7],
      scale: 1,
      zero: 0,
      values: [0, 15, 0, 2, 2, 7],
    });
    const narrow = oneGroup(kivi, tensor({ bits: 2 }), [-1, 2, 0.5, -0.5]);
    expect(narrow).toMatchObject({ codes: [0, 3, 2, 0], scale: 1, zero: -1 });
  });

  it('works with the rounded scale, in fp16 steps', () => {
    const [low, high, x] = [0.1, 7.3, 3].map(f16Round);
    const scale = f16Round(f16Round(high - low) / 15);
    const found = group(0.1, 7.3, 3);
    expect(found.scale).toBe(scale);
    expect(found.codes).toEqual([0, 15, Math.round(f16Round(f16Round(x - low) / scale))]);
    expect(found.values[1]).toBe(f16Round(f16Round(15 * scale) + low));
  });

  it('gives a tie of the exact quotient to fp16: 2^-11 beyond it is lost', () => {
    // range 15, scale 1, x = 8.5 - 2^-7 stays; 2.5 + 2^-10 is an fp16 number, its code is 3
    expect(group(0, 15, 2.5 + 2 ** -9).codes[2]).toBe(3);
    // x - min needs 12 bits: 1000.5 - 0.25 rounds to 1000
    expect(f16Round(1000.5 - 0.25)).toBe(1000);
    expect(group(0.25, 1000.5).scale).toBe(f16Round(1000 / 15));
  });

  it('keeps constant groups, and loses groups with Inf or an fp16 overflow of the range', () => {
    const nan = Number.NaN;
    const inf = Number.POSITIVE_INFINITY;
    expect(group(5)).toEqual({ codes: [0], scale: 0, zero: 5, values: [5] });
    expect(group(-40000, 40000)).toMatchObject({ codes: [0, 0], scale: inf, values: [nan, nan] });
    expect(group(inf, 1).values).toEqual([nan, nan]);
    expect(group(-inf, 1).values).toEqual([nan, nan]);
    expect(group(nan, 0, 15)).toMatchObject({ codes: [0, 0, 15], scale: 1, zero: 0 });
    expect(group(nan)).toMatchObject({ codes: [0], scale: nan, zero: nan });
  });

  it('sends everything above the minimum to the top when the scale underflows', () => {
    expect(group(0, 2 ** -24, 3 * 2 ** -24)).toMatchObject({
      codes: [0, 15, 15],
      scale: 0,
      values: [0, 0, 0],
    });
  });

  it('packs as the loop of pack_tensor does, along tokens for K and along channels for V', () => {
    for (const bits of [4, 2]) {
      for (const name of ['k', 'v'] as const) {
        const t = tensor({ tensor: name, bits, tokens: 64, headSize: 64 });
        const draw = draws(bits);
        const codes = Uint8Array.from({ length: 64 * 64 }, () => draw.below(2 ** bits));
        const parameters = Uint32Array.from({ length: 128 }, (_, i) => i);
        const packed = kivi.pack(t, { codes, scales: parameters, zeros: parameters });
        const words = new Uint32Array(packed.codes.buffer);
        const perWord = 32 / bits;
        for (let row = 0; row < 64; row++) {
          for (let w = 0; w < 64 / perWord; w++) {
            let expected = 0;
            for (let j = 0; j < perWord; j++) {
              const i = w * perWord + j;
              const code = name === 'k' ? codes[i * 64 + row] : codes[row * 64 + i];
              expected += code * 2 ** (bits * j);
            }
            expect(words[row * (64 / perWord) + w]).toBe(expected);
          }
        }
        // scale: (channels, groups) for K, (tokens, groups) for V; canonical order is (groups,
        // channels)
        const scales = new Uint16Array(packed.scale.buffer);
        expect([scales[0], scales[1], scales[2]]).toEqual(name === 'k' ? [0, 64, 1] : [0, 1, 2]);
      }
    }
  });

  it('refuses lengths that do not fill an int32', () => {
    const k = tensor({ tensor: 'k', headSize: 8, group: 32, tokens: 48, bits: 2 });
    expect(kivi.error(k)).toBe('kivi: group: 32 does not divide tokens 48');
    expect(kivi.error(tensor({ group: 64 }))).toBe('kivi: group: 64 does not divide headSize 32');
    expect(kivi.error(tensor({ tensor: 'k', headSize: 5 }))).toBeNull();
  });
});
