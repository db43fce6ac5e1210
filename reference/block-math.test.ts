// Tests of block-simd.ts and block-elements.ts against block-math.ts: the same bits for every
// shape, and numbers that no product may hide; and where the plain ones end.
import { describe, expect, it } from 'vitest';
import { type BlockMath, plainBlock } from './block-math.js';
import { openBlockMath } from './block-simd.js';
import { type Draw, draws } from './simulated/draw.js';

const stride = 128;

/** Numbers of many magnitudes, so that another order of sums gives other bits. */
function fill(x: Float64Array, draw: Draw): Float64Array {
  for (let i = 0; i < x.length; i++) x[i] = (draw.unit() - 0.5) * 2 ** Math.floor(40 * draw.unit());
  return x;
}

/** Both products of one shape; every run draws the same numbers. */
function products(p: BlockMath, queries: number, count: number, size: number, special?: number) {
  const draw = draws(queries * 1000 + count * 10 + size);
  const [rows, x] = [fill(p.array(128 * size), draw), fill(p.array(queries * size), draw)];
  const weights = fill(p.array(queries * stride), draw);
  const sums = fill(p.array(queries * size), draw);
  const out = p.array(queries * stride);
  if (special !== undefined) rows[(count - 1) * size + size - 1] = special;
  p.dot(rows, count, size, x, out, stride);
  p.addWeighted(rows, count, size, weights, stride, sums);
  const scores = Array.from({ length: queries }, (_, h) => {
    return Array.from(out.subarray(h * stride, h * stride + count));
  });
  return { scores, sums: Array.from(sums) };
}

const room = (queries: number, size: number) => 8 * (128 * size + 2 * queries * (size + stride));

describe('products in vectors', () => {
  const shapes = [1, 2, 3, 4, 7, 8].flatMap((queries) =>
    [1, 2, 3, 5, 31, 128].flatMap((count) =>
      [8, 64, 128, 256].map((size) => ({ queries, count, size })),
    ),
  );
  it('have the bits of the plain ones', () => {
    for (const { queries, count, size } of shapes) {
      const found = products(openBlockMath(room(queries, size)), queries, count, size);
      expect(found, `${queries} ${count} ${size}`).toEqual(
        products(plainBlock, queries, count, size),
      );
    }
  });

  it('are the plain ones for sizes that are no multiple of a vector', () => {
    for (const size of [1, 3, 20, 2056]) {
      const found = products(openBlockMath(room(3, size)), 3, 6, size);
      expect(found).toEqual(products(plainBlock, 3, 6, size));
    }
  });

  it.each([Number.NaN, Infinity, -Infinity])('pass %s on', (special) => {
    const found = products(openBlockMath(room(4, 64)), 4, 9, 64, special);
    expect(found).toEqual(products(plainBlock, 4, 9, 64, special));
    expect(found.scores[0][8]).not.toSatisfy(Number.isFinite);
    expect(found.scores[0][7]).toSatisfy(Number.isFinite);
    expect(found.sums[63]).not.toSatisfy(Number.isFinite);
    expect(found.sums[62]).toSatisfy(Number.isFinite);
  });

  it('are sums of products', () => {
    const p = openBlockMath(room(1, 8));
    const [rows, x, sums] = [p.array(8), p.array(8), p.array(8)];
    const out = p.array(4);
    rows.set([1, 2, 3, 4, 5, 6, 7, 8]);
    x.fill(2);
    sums.fill(100);
    p.dot(rows, 1, 8, x, out, 4);
    expect(out[0]).toBe(72);
    x[0] = 3;
    p.addWeighted(rows, 1, 8, x, 8, sums);
    expect(Array.from(sums)).toEqual([103, 106, 109, 112, 115, 118, 121, 124]);
  });

  it('leave sums as they are where there is no row', () => {
    const p = openBlockMath(room(1, 8));
    const sums = p.array(8).fill(5);
    p.addWeighted(p.array(8), 0, 8, p.array(8), 8, sums);
    expect(Array.from(sums)).toEqual(Array(8).fill(5));
  });

  it('find their memory cleared, whoever had it before', () => {
    openBlockMath(512).array(64).fill(7);
    expect(
      openBlockMath(512)
        .array(64)
        .every((x) => x === 0),
    ).toBe(true);
  });
});

/** Every function without a sum over a row, of one shape; every run draws the same numbers. */
function elements(p: BlockMath, count: number, size: number, special: number) {
  const draw = draws(count * 10 + size);
  const [rows, centre] = [fill(p.array(count * size), draw), fill(p.array(size), draw)];
  const [scales, zeros] = [fill(p.array(size), draw), fill(p.array(size), draw)];
  const [ofGroups, zerosOfGroups] = [fill(p.array(count), draw), fill(p.array(count), draw)];
  const codes = p.codes(count * size);
  for (let i = 0; i < codes.length; i++) codes[i] = draw.below(256);
  rows[(count - 1) * size + size - 1] = special;
  const [sums, largest] = [p.array(size).fill(7), p.array(size).fill(7)];
  const [byChannel, byGroup, apart] = [0, 0, 0].map(() => p.array(count * size));
  p.scaleByChannel(codes, scales, zeros, byChannel, count);
  p.scaleByGroup(codes, ofGroups, zerosOfGroups, byGroup, count, size);
  p.columnSums(rows, count, sums, largest);
  p.deviations(rows, count, centre, apart);
  return [byChannel, byGroup, sums, largest, apart].map((x) => Array.from(x));
}

describe('elements in vectors', () => {
  it.each([8, 64, 136, 3, 20])('have the bits of the plain ones: %i channels', (size) => {
    for (const count of [1, 2, 5, 31]) {
      for (const special of [1, -3e300, Number.NaN, Number.POSITIVE_INFINITY]) {
        const room = 8 * (6 * count * size + 5 * size + 2 * count) + count * size + 64;
        const found = elements(openBlockMath(room), count, size, special);
        expect(found, `${count} ${special}`).toEqual(elements(plainBlock, count, size, special));
      }
    }
  });

  it.each([['plain', () => plainBlock] as const, ['in vectors', openBlockMath] as const])(
    'are codes times scales, sums, magnitudes and distances: %s',
    (_, open) => {
      const p = open(4096);
      const floats = (...x: number[]) => {
        const all = p.array(16);
        all.set(x);
        return all.subarray(0, x.length);
      };
      const codes = p.codes(16);
      codes.set([1, 2, 3, 4, 5, 6, 7, 255, 8, 9, 10, 11, 12, 13, 14, 15]);
      const out = p.array(16);
      const scales = floats(1, 2, 3, 4, 5, 6, 7, 8);
      p.scaleByChannel(codes, scales, floats(0, 1, 0, 1, 0, 1, 0, 1), out, 2);
      expect([...out]).toEqual([
        ...[1, 5, 9, 17, 25, 37, 49, 2041],
        ...[8, 19, 30, 45, 60, 79, 98, 121],
      ]);
      p.scaleByGroup(codes, floats(2, -1), floats(1, 0.5), out, 2, 8);
      expect([...out]).toEqual([
        ...[3, 5, 7, 9, 11, 13, 15, 511],
        ...[-7.5, -8.5, -9.5, -10.5, -11.5, -12.5, -13.5, -14.5],
      ]);
      const rows = floats(1, -2, 3, 0, 5, 6, 7, 8, -4, 1, 0, 0, 1, 1, 1, -9);
      const [sums, largest] = [floats(...Array(8).fill(5)), floats(...Array(8).fill(99))];
      p.columnSums(rows, 2, sums, largest);
      expect([...sums]).toEqual([-3, -1, 3, 0, 6, 7, 8, -1]);
      expect([...largest]).toEqual([4, 2, 3, 0, 5, 6, 7, 9]);
      p.deviations(rows, 2, floats(1, 1, 1, 1, 1, 1, 1, 1), out);
      expect([...out]).toEqual([0, 3, 2, 1, 4, 5, 6, 7, 5, 0, 1, 1, 0, 0, 0, 10]);
    },
  );
});

describe('a plain block', () => {
  const six = Float64Array.of(1, 2, 3, 4, 5, 6);

  it('adds products of its own row only, of an odd number of channels too', () => {
    const out = new Float64Array(8);
    plainBlock.dot(six, 2, 3, Float64Array.of(1, 10, 100, -1, 0, 1), out, 4);
    expect([...out]).toEqual([321, 654, 0, 0, 2, 2, 0, 0]);
  });

  it('leaves what lies behind its results as it is', () => {
    const codes = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    const full = () => new Float64Array(8).fill(-7);
    const [byChannel, byGroup, scores, apart] = [full(), full(), full(), full()];
    plainBlock.scaleByChannel(codes, Float64Array.of(1, 2), Float64Array.of(0, 1), byChannel, 2);
    expect([...byChannel]).toEqual([1, 5, 3, 9, -7, -7, -7, -7]);
    plainBlock.scaleByGroup(codes, six, six, byGroup, 2, 2);
    expect([...byGroup]).toEqual([2, 3, 8, 10, -7, -7, -7, -7]);
    // One query of two channels, two tokens in room for four, and room for another query.
    plainBlock.dot(six, 2, 2, Float64Array.of(1, 10), scores, 4);
    expect([...scores]).toEqual([21, 43, -7, -7, -7, -7, -7, -7]);
    plainBlock.deviations(six, 2, Float64Array.of(1, 1), apart);
    expect([...apart]).toEqual([0, 1, 2, 3, -7, -7, -7, -7]);
  });
});
