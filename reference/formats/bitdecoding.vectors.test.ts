// The formats of BitDecoding against what its packing kernels wrote on a GPU: every code and every
// parameter. It is compiled with fast-math, so a code beside a rounding boundary may be either.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { f16Values } from '../format.js';
import {
  recordedBytes as bytes,
  recordedHalves as halves,
  recordedWords as words,
} from '../simulated/recorded.js';
import type { FormatSpec, HeadTensor, TensorName } from './format-spec.js';
import { formatNamed } from './index.js';

interface Arrays {
  words: string;
  params: string;
}

interface Recorded {
  inputs: Record<string, string>;
  cases: {
    input: string;
    format: string;
    bits: number;
    group: number;
    tokens: number;
    k: Arrays;
    v: Arrays;
  }[];
}

const path = new URL('../../corpus/vectors/formats/bitdecoding.json', import.meta.url);
const recorded: Recorded = JSON.parse(readFileSync(path, 'utf8'));

/** Numbers that differ; NaN is NaN, whatever its bits. */
function differing(found: Uint16Array, required: Uint16Array): number[] {
  return [...required.keys()].filter((i) => {
    const [a, b] = [f16Values[found[i]], f16Values[required[i]]];
    return !(a === b || (Number.isNaN(a) && Number.isNaN(b)));
  });
}

/** Whether what is rounded lies between two codes, but for the errors of a fast division. */
function isTie(rounded: number, a: number, b: number): boolean {
  return Math.abs(rounded - (a + b) / 2) <= 2 ** -21 * ((a + b) / 2);
}

/** Elements whose codes differ, apart from those on the other side of a tie. */
function wrongCodes(spec: FormatSpec, t: HeadTensor, x: Float64Array, c: Arrays): number[] {
  const ours = spec.quantize(t, x);
  const theirs = spec.unpack(t, { words: bytes(c.words), params: bytes(c.params) });
  const rounded = spec.unrounded(t, x)?.codes as Float64Array;
  return [...ours.codes.keys()].filter((i) => {
    const [a, b] = [ours.codes[i], theirs.codes[i]];
    return a !== b && !isTie(rounded[i], a, b);
  });
}

describe('bitdecoding, recorded on a GPU', () => {
  it('has all its cases', () => expect(recorded.cases.length).toBeGreaterThanOrEqual(16));
});

describe.each(recorded.cases)('$format, $bits bits, group $group, $input', (c) => {
  const spec = formatNamed(c.format) as FormatSpec;
  const x = halves(recorded.inputs[c.input]);
  const { bits, group, tokens } = c;
  const head = (tensor: TensorName): HeadTensor => {
    return { tensor, tokens, headSize: 128, bits, group, input: 'f16' };
  };

  it.each(['k', 'v'] as const)('params of %s', (tensor) => {
    const packed = spec.pack(head(tensor), spec.quantize(head(tensor), x));
    expect(differing(words(c[tensor].params), new Uint16Array(packed.params.buffer))).toEqual([]);
  });

  it.each(bits === 2 ? (['k'] as const) : (['k', 'v'] as const))('codes of %s', (tensor) => {
    expect(wrongCodes(spec, head(tensor), x, c[tensor])).toEqual([]);
  });

  const lost = bits === 2 ? it : undefined;
  lost?.('v keeps channels 0 to 15 of every 32, in fields 0 to 3', () => {
    const t = head('v');
    const codes = spec.quantize(t, x).codes;
    const rounded = spec.unrounded(t, x)?.codes as Float64Array;
    const stored = words(c.v.words);
    const wrong = [...stored.keys()].flatMap((w) =>
      [0, 1, 2, 3].filter((field) => {
        const i = Math.floor(w / 16) * 128 + 32 * field + (w % 16);
        const found = (stored[w] >> (2 * field)) & 3;
        return found !== codes[i] && !isTie(rounded[i], found, codes[i]);
      }),
    );
    expect(wrong).toEqual([]);
  });
});
