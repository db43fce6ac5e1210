// kivi.ts against what KIVI's own functions made on a GPU: codes, parameters, values read back.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { numberTypes } from '../number-type.js';
import { recordedBytes as bytes, recordedHalves as halves } from '../simulated/recorded.js';
import { kivi } from './kivi.js';

interface Recorded {
  cases: {
    name: string;
    bits: number;
    group: number;
    tensor: 'k' | 'v';
    tokens: number;
    headSize: number;
    x: string;
    codes: string;
    scale: string;
    zero: string;
    dequantized: string;
  }[];
}

const path = new URL('../../corpus/vectors/formats/kivi.json', import.meta.url);
const recorded: Recorded = JSON.parse(readFileSync(path, 'utf8'));

/** Equal numbers, or both NaN; the sign of a zero is free. */
const differ = (a: Float64Array, b: Float64Array) =>
  [...a.keys()].filter((i) => !(a[i] === b[i] || (Number.isNaN(a[i]) && Number.isNaN(b[i]))));

describe('kivi, recorded on a GPU', () => {
  it('has all its cases', () => expect(recorded.cases.length).toBeGreaterThanOrEqual(12));

  it.each(recorded.cases)('$name, $tensor, $bits bits, group $group', (c) => {
    const { bits, group, tensor, tokens, headSize } = c;
    const t = { tensor, tokens, headSize, bits, group, input: 'f16' } as const;
    const original = { codes: bytes(c.codes), scale: bytes(c.scale), mn: bytes(c.zero) };
    const theirs = kivi.unpack(t, original);
    const ours = kivi.quantize(t, halves(c.x));
    const { decode } = numberTypes.f16;
    for (const kind of ['scales', 'zeros'] as const) {
      const [a, b] = [ours, theirs].map((codes) => Float64Array.from(codes[kind], decode));
      expect(differ(a, b)).toEqual([]);
    }
    const wrong = [...ours.codes.keys()].filter((i) => ours.codes[i] !== theirs.codes[i]);
    expect(wrong).toEqual([]);
    expect(differ(kivi.dequantize(t, theirs), halves(c.dequantized))).toEqual([]);
  });
});
