// Tests of stored-codes.ts: what `eitherTie` covers, and what it does not.
import { describe, expect, it } from 'vitest';
import { f16FromF64, f16Values } from '../reference/format.js';
import { bitdecodingKChannel as spec } from '../reference/formats/bitdecoding-k-channel.js';
import type { Codes, HeadTensor } from '../reference/formats/format-spec.js';
import { vllmInt8 } from '../reference/formats/vllm-int8.js';
import type { Case } from './case.js';
import type { Ran } from './kernel.js';
import type { Judgement } from './property.js';
import { judgeStored } from './stored-codes.js';

const tokens = 256;
const tensor = (bits: number): HeadTensor => ({
  ...{ tensor: 'v', tokens, headSize: 128, bits, group: 128, input: 'f16' },
});
const t = tensor(4);
const rows = (...row: number[]) =>
  Uint16Array.from({ length: tokens * 128 }, (_, i) => f16FromF64(row[i % 128] ?? 0));
// Every row is 0, 15, 2.5, 3, 0, 0 ..: scale 1, and the code of 2.5 is a tie.
const words = rows(0, 15, 2.5, 3);
const x = Float64Array.from(words, (word) => f16Values[word]);

/** The verdict on a kernel whose V holds `change` of the codes that the spec makes. */
function verdict(eitherTie: boolean, change: (codes: Codes) => Codes, v = words, bits = 4) {
  const own = { k: { ...tensor(bits), tensor: 'k' }, v: tensor(bits) } as const;
  const values = Float64Array.from(v, (word) => f16Values[word]);
  const packed = {
    k: [spec.pack(own.k, spec.quantize(own.k, values))],
    v: [spec.pack(own.v, change(spec.quantize(own.v, values)))],
  };
  const problem = { tokens: [tokens], queryHeads: 1, kvHeads: 1, headSize: 128 };
  const scheme = { format: 'bitdecoding-k-channel', kAxis: 'channel', bits, group: 128 };
  const judgement = {
    case: { problem, scheme } as unknown as Case,
    inputs: { q: v.subarray(0, 128), k: v, v },
    kernel: { capabilities: { layout: 'values', eitherTie, blockTokens: 256 } },
  } as unknown as Judgement;
  return judgeStored(judgement, { stored: { packed } } as unknown as Ran);
}

const code = (index: number, value: number) => (codes: Codes) => {
  codes.codes[index] = value;
  return codes;
};

describe('codes beside a tie', () => {
  it('are those of the spec: 3 for 2.5', () => {
    expect(spec.quantize(t, x).codes.slice(0, 4)).toEqual(Uint8Array.of(0, 15, 3, 3));
    expect(verdict(false, (codes) => codes).kind).toBe('pass');
  });

  it('may be either where the kernel says so', () => {
    expect(verdict(true, code(2, 2)).kind).toBe('pass');
    expect(verdict(false, code(2, 2))).toMatchObject({ signature: 'exact-codes/v-codes' });
  });

  it.each([
    ['another code of the tie', code(2, 4)],
    ['the code below', code(2, 1)],
    ['the neighbour of a value on the grid', code(3, 2)],
  ])('%s stays wrong', (_name, change) => {
    expect(verdict(true, change)).toMatchObject({ signature: 'exact-codes/v-codes' });
  });
});

describe('scales', () => {
  const moved = (by: number) => (codes: Codes) => {
    codes.scales[0] += by;
    return codes;
  };

  it('may be either of two that are equally near', () => {
    // A third of this range is the midpoint of 4.4375 and the next number of fp16.
    const between = rows(13.3125, -0.005859375);
    const { scales } = spec.quantize(
      tensor(2),
      Float64Array.from(between, (w) => f16Values[w]),
    );
    const other = f16Values[scales[0]] === 4.4375 ? 1 : -1;
    expect(verdict(true, moved(other), between, 2).kind).toBe('pass');
    for (const [tie, by] of [
      [false, other],
      [true, 2 * other],
      [true, -other],
    ] as const) {
      expect(verdict(tie, moved(by), between, 2)).toMatchObject({
        signature: 'exact-codes/v-scales',
      });
    }
  });

  it('that are a number away are wrong elsewhere', () => {
    expect(verdict(true, moved(1))).toMatchObject({ signature: 'exact-codes/v-scales' });
  });
});

describe('scales that a format keeps in binary32', () => {
  const int8: HeadTensor = {
    tensor: 'v',
    tokens: 1,
    headSize: 128,
    bits: 8,
    group: 'all',
    input: 'f16',
  };
  const row = Uint16Array.from({ length: 128 }, (_, i) => f16FromF64(i - 60));
  const values = Float64Array.from(row, (word) => f16Values[word]);

  /** The verdict on a kernel whose V has a scale that is `ulps` away from the spec's. */
  function moved(eitherTie: boolean, ulps: number) {
    const stored = (change: number) => {
      const codes = vllmInt8.quantize(int8, values);
      codes.scales[0] += change;
      return [vllmInt8.pack(int8, codes)];
    };
    const problem = { tokens: [1], queryHeads: 1, kvHeads: 1, headSize: 128 };
    const scheme = { format: vllmInt8.format, kAxis: 'token', bits: 8, group: 128 };
    const judgement = {
      case: { problem, scheme } as unknown as Case,
      inputs: { q: row, k: row, v: row },
      kernel: { capabilities: { layout: 'values', eitherTie } },
    } as unknown as Judgement;
    const packed = { k: stored(0), v: stored(ulps) };
    return judgeStored(judgement, { stored: { packed } } as unknown as Ran);
  }

  it.each([-2, -1, 0, 1, 2])('may be %i ulps away where the kernel says so', (ulps) => {
    expect(moved(true, ulps).kind).toBe('pass');
    expect(moved(false, ulps).kind).toBe(ulps === 0 ? 'pass' : 'fail');
  });

  it.each([-9, 9, 1000])('are wrong %i ulps away', (ulps) => {
    expect(moved(true, ulps)).toMatchObject({ signature: 'exact-codes/v-scales' });
  });
});

describe('what the format says it rounds', () => {
  it('rounds to the codes and scales of quantize', () => {
    const found = spec.unrounded(t, x);
    const { codes, scales } = spec.quantize(t, x);
    const rounded = found?.codes.map((y) => Math.min(Math.floor(y + 0.5), 15));
    expect([...(rounded ?? [])]).toEqual([...codes]);
    expect([...(found?.scales ?? [])]).toEqual([...scales].map((bits) => f16Values[bits]));
  });
});
