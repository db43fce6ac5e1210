// Tests of guards.ts: one operand at a time becomes what no bound is given for, inside the tokens
// that a row sees and behind them.
import { describe, expect, it } from 'vitest';
import type { KnownArithmetic, Operands } from './arithmetic.js';
import type { HeadCache } from './cache.js';
import { f16FromF64 } from './format.js';
import { headIsFinite, reach } from './guards.js';
import type { Scheme } from './scheme.js';
import { attack } from './simulated/adversary.js';
import { draws } from './simulated/draw.js';

const size = 64;
const kinds: Operands[] = ['folded', 'dequantized', 'dequantized-twice'];
const known = (operands: Operands): KnownArithmetic => ({
  ...{ operands, fraction: 25, fusedProducts: 16, sumLanes: 8 },
});

/** 300 tokens, of which 256 are packed. */
function headOf(
  kAxis: Scheme['kAxis'],
  type: 'fp16' | 'bf16' = 'fp16',
  bits: 2 | 4 = 4,
): HeadCache {
  const scheme: Scheme = { format: 'bitdecoding', kAxis, bits, group: 128 };
  return attack('ordinary', scheme, 300, draws(5), { headSize: size, type }).head;
}

/** The same head, one request token shorter than `tokens`: a prefix shares the arrays. */
function prefix(head: HeadCache, tokens: number): HeadCache {
  return { ...head, tokens, packed: Math.min(head.packed, tokens - (tokens % 128)) };
}

/** Whether the head is still finite with a word in one place; puts it back. */
function holds(head: HeadCache, words: Uint16Array, at: number, word: number, operands: Operands) {
  const kept = words[at];
  words[at] = word;
  const found = headIsFinite(known(operands), head);
  words[at] = kept;
  return found;
}

describe.each(['channel', 'token'] as const)('a head, K per %s', (kAxis) => {
  const head = headOf(kAxis);

  it.each(kinds)('of ordinary numbers is finite: %s', (operands) => {
    expect(headIsFinite(known(operands), head)).toBe(true);
  });

  it('is not with an Inf or NaN in a row of its tail', () => {
    for (const words of [head.kResidual, head.vResidual]) {
      for (const word of [0x7c00, 0xfc00, 0x7e00, 0xffff]) {
        expect(holds(head, words, 0, word, 'folded')).toBe(false);
        expect(holds(head, words, words.length - 1, word, 'folded')).toBe(false);
      }
      expect(holds(head, words, 5, 0x7bff, 'folded')).toBe(true);
    }
  });

  it('is not with an infinite or negative parameter', () => {
    for (const { scales, zeros } of [head.k, head.v]) {
      const last = scales.length - 1;
      expect([0x7c00, 0x7e00].map((w) => holds(head, scales, last, w, 'folded'))).toEqual([
        false,
        false,
      ]);
      expect([0x8000, 0x8001].map((w) => holds(head, scales, last, w, 'folded'))).toEqual([
        false,
        false,
      ]);
      expect([0x7c00, 0xfc00].map((w) => holds(head, zeros, last, w, 'folded'))).toEqual([
        false,
        false,
      ]);
      expect([0x8000, 0xfbff].map((w) => holds(head, zeros, last, w, 'folded'))).toEqual([
        true,
        true,
      ]);
      expect(holds(head, scales, last, 0x7bff, 'folded')).toBe(true);
    }
  });

  it('does not look behind its last token', () => {
    const shorter = prefix(head, 299);
    for (const words of [head.kResidual, head.vResidual]) {
      expect(holds(shorter, words, 43 * size, 0x7c00, 'folded')).toBe(true);
      expect(holds(shorter, words, 43 * size - 1, 0x7c00, 'folded')).toBe(false);
    }
    const oneRecord = prefix(head, 128);
    for (const [tensor, own] of [
      [head.k, kAxis === 'channel' ? size : 128],
      [head.v, 128],
    ] as const) {
      for (const words of [tensor.scales, tensor.zeros]) {
        expect(holds(oneRecord, words, own, 0x7c00, 'folded')).toBe(true);
        expect(holds(oneRecord, words, own - 1, 0x7c00, 'folded')).toBe(false);
      }
    }
  });
});

describe('a dequantising kernel', () => {
  /** One group of K with these parameters, among ordinary ones. */
  function withGroup(head: HeadCache, scale: number, zero: number, operands: Operands): boolean {
    const { scales, zeros } = head.k;
    const kept = [scales[3], zeros[3]];
    [scales[3], zeros[3]] = [f16FromF64(scale), f16FromF64(zero)];
    const found = headIsFinite(known(operands), head);
    [scales[3], zeros[3]] = kept;
    return found;
  }

  it('overflows where code times scale plus zero does', () => {
    const head = headOf('channel', 'fp16', 2);
    // An end and its rounding, and the product's where that is rounded too, stay below 65504.
    expect(kinds.map((o) => withGroup(head, 20000, 0, o))).toEqual([true, true, true]);
    expect(kinds.map((o) => withGroup(head, 20000, 5504, o))).toEqual([true, false, false]);
    expect(kinds.map((o) => withGroup(head, 20000, 5472, o))).toEqual([true, true, false]);
    expect(kinds.map((o) => withGroup(head, 20000, 5440, o))).toEqual([true, true, true]);
    expect(kinds.map((o) => withGroup(head, 21840, -60000, o))).toEqual([true, true, false]);
    expect(kinds.map((o) => withGroup(head, 21824, 0, o))).toEqual([true, true, false]);
    expect(kinds.map((o) => withGroup(head, 0, -65504, o))).toEqual([true, false, false]);
  });

  it('to bf16 does not', () => {
    const head = headOf('channel', 'bf16', 2);
    expect(kinds.map((o) => withGroup(head, 65504, 65504, o))).toEqual([true, true, true]);
  });
});

describe('a query row', () => {
  const row = (x: number) => new Float64Array(size).fill(x);

  it('reaches where it is finite; fp16 cannot leave f32', () => {
    const head = headOf('channel');
    expect(reach(head, 1e30, row(65504))).toBe(true);
    expect(reach(head, 1, row(0).fill(Number.NaN, 63))).toBe(false);
    expect(reach(head, 1, row(0).fill(Number.NEGATIVE_INFINITY, 0, 1))).toBe(false);
  });

  it('of bf16 reaches where its products with the tail and its factor stay in f32', () => {
    const head = headOf('channel', 'bf16');
    const words = head.kResidual.fill(0);
    words[words.length - 1] = (127 + 44) << 7; // 2^44
    expect(reach(head, 1, row(-(2 ** 50)))).toBe(false); // 2^50 2^44 64
    expect(reach(head, 1, row(2 ** 49))).toBe(true);
    expect(reach(prefix(head, 299), 1, row(2 ** 50))).toBe(true);
    expect(reach(head, 2 ** 9, row(2 ** 49))).toBe(true);
    expect(reach(head, -(2 ** 11), row(2 ** 49))).toBe(false);
    words[words.length - 1] = 0xffc0; // no number: the head's business
    expect(reach(head, 1, row(1))).toBe(true);
  });
});
