// Tests of the WebAssembly product: the same bits as the loops in its header.

import { describe, expect, it } from 'vitest';
import { FloatArena, packRows, panelFloats, roundUp } from './wasm-matmul.js';

/** Small numbers without a pattern. */
const value = (i: number) => Math.fround(Math.sin(i * 1.7) * 3);

function expected(x: Float32Array, w: Float32Array, m: number, n: number, k: number) {
  return Float32Array.from({ length: m * n }, (_, at) => {
    const [row, column] = [Math.floor(at / n), at % n];
    let sum = 0;
    for (let i = 0; i < k; i++) {
      sum = Math.fround(sum + Math.fround(x[row * k + i] * w[column * k + i]));
    }
    return sum;
  });
}

describe('FloatArena.multiply', () => {
  it.each([
    [1, 8, 1],
    [4, 8, 128],
    [7, 24, 33],
    [130, 16, 5],
  ])('gives every sum in the order of k for m %i, n %i, k %i', (m, n, k) => {
    const rows = roundUp(m, 4);
    const arena = new FloatArena(rows * k + panelFloats(k, n) + rows * n + 12);
    const [a, b, c] = [rows * k, panelFloats(k, n), rows * n].map((size) => arena.allocate(size));
    const w = Float32Array.from({ length: n * k }, (_, i) => value(i + 1000));
    for (let i = 0; i < m * k; i++) a[i] = value(i);
    packRows(w, n, k, b);
    arena.multiply({ a, b, c, m, n, k, aStride: k, cStride: n, panelStride: 8 * k });
    expect(c.subarray(0, m * n)).toEqual(expected(a, w, m, n, k));
  });

  it('adds to what c holds', () => {
    const arena = new FloatArena(200);
    const [a, b, c] = [4, 8, 32].map((size) => arena.allocate(size));
    a.fill(2);
    b.fill(3);
    c.fill(1);
    arena.multiply({ a, b, c, m: 4, n: 8, k: 1, aStride: 1, cStride: 8, panelStride: 8 });
    expect([...c]).toEqual(Array(32).fill(7));
  });

  it('refuses arrays that are too short', () => {
    const arena = new FloatArena(200);
    const [a, b, c] = [4, 8, 31].map((size) => arena.allocate(size));
    const product = { a, b, c, m: 4, n: 8, k: 1, aStride: 1, cStride: 8, panelStride: 8 };
    expect(() => arena.multiply(product)).toThrow('c: 31 floats, 32 are required');
    expect(() => arena.multiply({ ...product, n: 7 })).toThrow('n: 7 is not a multiple of 8');
  });
});
