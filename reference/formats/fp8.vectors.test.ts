// The 8-bit floats and fp8-arithmetic.ts against PyTorch's conversion on a GPU: codes of x / scale,
// and the values that they stand for. PyTorch does not saturate; the spec's function does, and
// equals it wherever x / scale is in range.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { e4m3, e5m2 } from '../number-type.js';
import {
  recordedBytes as bytes,
  recordedFloats as floats,
  recordedHalves as halves,
} from '../simulated/recorded.js';
import { fp8E4m3PerTensor, fp8E5m2PerTensor } from './fp8-per-tensor.js';

interface Recorded {
  cases: {
    name: string;
    type: 'e4m3' | 'e5m2';
    x: string;
    scale: string;
    codes: string;
    dequantized: string;
  }[];
}

const path = new URL('../../corpus/vectors/formats/fp8-torch.json', import.meta.url);
const recorded: Recorded = JSON.parse(readFileSync(path, 'utf8'));
const kinds = { e4m3: [e4m3, fp8E4m3PerTensor], e5m2: [e5m2, fp8E5m2PerTensor] } as const;
const TOKENS = 8;
const HEAD_SIZE = 128;

describe('fp8, recorded on a GPU', () => {
  it('has all its cases', () => expect(recorded.cases.length).toBeGreaterThanOrEqual(18));

  it.each(recorded.cases)('$name, $type', (c) => {
    const [type, spec] = kinds[c.type];
    const x = halves(c.x);
    const scale = floats(c.scale)[0];
    const original = bytes(c.codes);
    const steps = x.map((value) => Math.fround(value / scale));
    const meaning = (codes: Uint8Array) => Float64Array.from(codes, type.decode);
    const encoded = Uint8Array.from(steps, type.encode);
    expect(meaning(encoded)).toEqual(meaning(original));

    const t = { tensor: 'k', tokens: TOKENS, headSize: HEAD_SIZE, bits: 8 } as const;
    const ours = spec.quantize({ ...t, group: 'all', input: 'f16', given: scale }, x);
    const inRange = (i: number) => !(Math.abs(steps[i]) > type.max);
    const wrong = [...original.keys()].filter(
      (i) => inRange(i) && !Object.is(type.decode(ours.codes[i]), type.decode(original[i])),
    );
    expect(wrong).toEqual([]);
    const back = spec.dequantize(
      { ...t, group: 'all', input: 'f16', given: scale },
      { ...ours, codes: original },
    );
    expect(Float32Array.from(back)).toEqual(floats(c.dequantized));
  });
});
