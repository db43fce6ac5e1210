// Tests of value-pass.ts on one KV head: two records and a tail, two query rows, every sum by the
// line of the header that says what it is.
import { describe, expect, it } from 'vitest';
import { type KnownArithmetic, normalMin } from './arithmetic.js';
import { boundScratch } from './bound-scratch.js';
import type { HeadCache } from './cache.js';
import {
  type ElementType,
  elementFromF64,
  elementRound,
  elementValues,
  f16Values,
} from './format.js';
import { emptyQuantized, quantizeV } from './quantize.js';
import type { Scheme } from './scheme.js';
import { draws } from './simulated/draw.js';
import { type HeadWeights, sumValues } from './value-pass.js';

const group = 32;
const [size, packed, tokens, queries] = [64, 256, 261, 2];
const groups = size / group;
const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group };

const arithmetic = (operands: KnownArithmetic['operands']): KnownArithmetic => {
  return { operands, fraction: 25, fusedProducts: 16, sumLanes: 8 };
};

/** Values of both signs and of many sizes: some tokens of the tail are subnormal in fp16. */
function headOf(type: ElementType): HeadCache {
  const draw = draws(5);
  const words = Uint16Array.from({ length: tokens * size }, (_, i) => {
    const token = Math.floor(i / size);
    return elementFromF64(type, draw.normal() * 2 ** -(token % 3 === 2 ? 16 : token % 3));
  });
  return {
    ...{ scheme, headSize: size, tokens, type, packed, k: emptyQuantized(packed, size, packed) },
    v: quantizeV(scheme, words.subarray(0, packed * size), packed, size, type),
    ...{ kResidual: words.slice(packed * size), vResidual: words.slice(packed * size) },
  };
}

/** Positive numbers, of which some lie 2^-20 below the largest. */
function weightsOf(): HeadWeights {
  const draw = draws(6);
  const drawn = () =>
    Float64Array.from({ length: queries * tokens }, () => draw.unit() * 2 ** -draw.below(20));
  const shadow = drawn();
  const weightMax = [0, 1].map((h) => Math.max(...shadow.slice(h * tokens, (h + 1) * tokens)));
  return { exact: drawn(), shadow, drift: drawn(), weightMax };
}

const range = (first: number, end: number) =>
  Array.from({ length: end - first }, (_, i) => first + i);
const all = range(0, tokens);
const blocks = [range(0, 128), range(128, 256), range(256, tokens)];
const sum = (of: readonly number[], f: (t: number) => number) =>
  of.reduce((before, t) => before + f(t), 0);

/** found: (queries, width); a float64 sum of a few hundred terms is off by less than 2^-40. */
function expectRows(
  found: Float64Array,
  width: number,
  wanted: (h: number, at: number) => number,
): void {
  expect(found.length).toBe(queries * width);
  found.forEach((x, i) => {
    expect(Math.abs(x - wanted(Math.floor(i / width), i % width))).toBeLessThan(2 ** -40);
  });
}

const value = (head: HeadCache, t: number, d: number) => {
  if (t >= packed) return elementValues(head.type)[head.vResidual[(t - packed) * size + d]];
  const at = t * groups + Math.floor(d / group);
  return head.v.codes[t * size + d] * f16Values[head.v.scales[at]] + f16Values[head.v.zeros[at]];
};

describe.each([
  ['folded', 'fp16'],
  ['folded', 'bf16'],
  ['dequantized', 'fp16'],
  ['dequantized', 'bf16'],
] as const)('sums of a kernel that is %s, %s', (operands, type) => {
  const head = headOf(type);
  const w = weightsOf();
  const summed = () => {
    const scratch = boundScratch(queries, size); // the memory of every other one
    for (const x of [scratch.magnitude, scratch.room.scales]) x.fill(7); // of the head before
    return sumValues(arithmetic(operands), head, w, scratch);
  };
  const exact = (h: number, t: number) => w.exact[h * tokens + t];
  const shadow = (h: number, t: number) => w.shadow[h * tokens + t];
  const drift = (h: number, t: number) => w.drift[h * tokens + t];
  const isRounded = (t: number) => operands === 'dequantized' && t < packed;
  const v = (t: number, d: number) => value(head, t, d);
  const rounded = (t: number, d: number) => (isRounded(t) ? elementRound(type, v(t, d)) : v(t, d));
  const means = blocks.map((own) =>
    range(0, size).map((d) => sum(own, (t) => rounded(t, d)) / own.length),
  );

  it('weigh exact values, and those of the shadow apart by records and tail', () => {
    const found = summed();
    expectRows(found.output, size, (h, d) => sum(all, (t) => exact(h, t) * v(t, d)));
    const part = (own: number[]) => (h: number, d: number) =>
      sum(own, (t) => shadow(h, t) * rounded(t, d));
    expectRows(found.shadowPacked, size, part(range(0, packed)));
    expectRows(found.shadowTail, size, part(range(packed, tokens)));
  });

  it('hold how far values lie from the mean of their block, and the drift of each', () => {
    const found = summed();
    const centres = means.flat();
    expect(found.centres.length).toBe(centres.length);
    centres.forEach((x, i) => {
      expect(Math.abs(found.centres[i] - x)).toBeLessThan(2 ** -40);
    });
    expectRows(found.driftOf, 3, (h, block) => sum(blocks[block], (t) => drift(h, t)));
    expectRows(found.deviation, size, (h, d) =>
      sum(all, (t) => drift(h, t) * Math.abs(rounded(t, d) - means[Math.floor(t / 128)][d])),
    );
  });

  it('hold the magnitudes of what reaches the tensor core as values', () => {
    const found = summed();
    const own = operands === 'folded' ? range(packed, tokens) : all;
    const raised = (x: number) => (x === 0 ? 0 : Math.max(Math.abs(x), normalMin(type)));
    expectRows(found.magnitude, size, (h, d) =>
      sum(own, (t) => Math.max(shadow(h, t), 2 ** -14 * w.weightMax[h]) * raised(rounded(t, d))),
    );
    const largest = all.flatMap((t) => range(0, size).map((d) => Math.abs(rounded(t, d))));
    expect(found.valueMax).toBe(Math.max(...largest));
  });

  it('hold zeros and scales of records that stay codes, by group of channels', () => {
    const found = summed();
    const own = operands === 'folded' ? range(0, packed) : [];
    const scale = (t: number, g: number) => f16Values[head.v.scales[t * groups + g]];
    const zero = (t: number, g: number) => f16Values[head.v.zeros[t * groups + g]];
    const max = (f: (t: number) => number) => Math.max(0, ...own.map(f));
    expectRows(found.zero, groups, (h, g) => sum(own, (t) => shadow(h, t) * zero(t, g)));
    expectRows(found.zeroMagnitude, groups, (h, g) =>
      sum(own, (t) => shadow(h, t) * Math.abs(zero(t, g))),
    );
    expectRows(found.scaled, groups, (h, g) => sum(own, (t) => shadow(h, t) * scale(t, g)));
    expectRows(found.scaledMax, groups, (h, g) => max((t) => shadow(h, t) * scale(t, g)));
    expect([...found.scaleMax]).toEqual([0, 1].map((g) => max((t) => scale(t, g))));
  });
});

describe('values of zero', () => {
  it.each(['fp16', 'bf16'] as const)('are taken for the smallest normal number: %s', (type) => {
    const head = headOf(type);
    head.v.scales.fill(0);
    head.v.zeros.fill(0);
    head.vResidual.fill(0);
    const scratch = boundScratch(queries, size);
    const found = sumValues(arithmetic('folded'), head, weightsOf(), scratch);
    expect(found.valueMax).toBe(normalMin(type));
    for (const x of [found.output, found.magnitude, found.deviation, found.centres]) {
      expect(x.every((y) => y === 0)).toBe(true);
    }
  });
});
