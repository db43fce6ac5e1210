// wasm-matmul.ts - dense products in binary32 for the studies: one WebAssembly SIMD kernel, written
// out as bytes here, over one memory that the caller shares out.
//
//   c (m, n) += a (m, k) b (k, n)
//
// b is packed in panels of 8 columns, each (k, 8), so that the inner loop reads it in a straight
// line; a and c are plain rows. The kernel holds a tile of c of 4 x 8 in registers. Every product
// and every sum is one binary32 operation in the order of k, so that a result has the same bits on
// every machine; there is no fused multiply-add in it. Measured on one core of a 2.x GHz Xeon: 20
// times as fast as the same loops in JavaScript, which is what makes a table of perplexities a
// matter of minutes.
//
// No softmax, no quantisation, no shapes of a model: see code-lm-model.ts and blocked-attention.ts.

import {
  Arena,
  add,
  advance,
  type Code,
  doWhile,
  each,
  f32x4,
  get,
  I32,
  i32,
  isBelow,
  load,
  multiply,
  set,
  store,
  V128,
  type WasmFunction,
} from '../../reference/wasm-code.js';

/** Columns of a panel of b. */
export const PANEL_COLUMNS = 8;
/** Rows of a tile of c: m is rounded up to a multiple of it. */
export const TILE_ROWS = 4;
/** Rows of a that are multiplied with all of b before the next: 256 kB at k = 1024. */
const BLOCK_ROWS = 64;

export function roundUp(n: number, multiple: number): number {
  return Math.ceil(n / multiple) * multiple;
}

/** Floats of a b (k, n) in panels. */
export function panelFloats(k: number, n: number): number {
  return k * roundUp(n, PANEL_COLUMNS);
}

export interface Product {
  readonly a: Float32Array; // rows of aStride floats
  readonly b: Float32Array; // panels of panelStride floats
  readonly c: Float32Array; // rows of cStride floats
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly aStride: number;
  readonly cStride: number;
  /** Floats from one panel of b to the next; 8 k where a panel is full. */
  readonly panelStride: number;
}

/** One memory of floats and the product over it. */
export class FloatArena {
  private readonly arena: Arena;

  /** floats: all that will ever be allocated; the memory is zero. */
  constructor(floats: number) {
    this.arena = new Arena(4 * floats, [productFunction()]);
  }

  allocate(floats: number): Float32Array {
    return this.arena.f32(floats);
  }

  /**
   * c += a b, for rows up to a multiple of 4: rows behind m are read of a and written of c, and
   * have to lie within the arena.
   */
  multiply(p: Product): void {
    const { a, b, c, m, n, k, aStride, cStride, panelStride } = p;
    if (n % PANEL_COLUMNS !== 0) throw new RangeError(`n: ${n} is not a multiple of 8`);
    const rows = roundUp(m, TILE_ROWS);
    requireFloats('a', a, (rows - 1) * aStride + k);
    requireFloats('b', b, (n / PANEL_COLUMNS - 1) * panelStride + PANEL_COLUMNS * k);
    requireFloats('c', c, (rows - 1) * cStride + n);
    for (let first = 0; first < rows; first += BLOCK_ROWS) {
      this.arena.functions.product(
        a.byteOffset + first * aStride * 4,
        b.byteOffset,
        c.byteOffset + first * cStride * 4,
        Math.min(BLOCK_ROWS, rows - first),
        n,
        k,
        aStride * 4,
        cStride * 4,
        panelStride * 4,
      );
    }
  }
}

function requireFloats(name: string, array: Float32Array, floats: number): void {
  if (array.length >= floats) return;
  throw new RangeError(`${name}: ${array.length} floats, ${floats} are required`);
}

/** b = x^T in panels, for x (n, k) in rows: the weights of a layer y = x W^T, or keys. */
export function packRows(x: Float32Array, n: number, k: number, out: Float32Array): void {
  for (let j = 0; j < n; j++) {
    const panel = Math.floor(j / PANEL_COLUMNS) * PANEL_COLUMNS * k + (j % PANEL_COLUMNS);
    for (let i = 0; i < k; i++) out[panel + i * PANEL_COLUMNS] = x[j * k + i];
  }
}

/** Parameters of the product's function, then locals. */
const [A, B, C, M, N, K, A_STRIDE, C_STRIDE, PANEL_STRIDE] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const [ROW_A, ROW_C, PANEL_END, C_END, ROWS_END, P] = [9, 10, 11, 12, 13, 14];
/** Pointers to the four rows of a and of c in a tile. */
const [TILE_A, TILE_C] = [15, 19];
const POINTERS = 14;
/** b's two vectors, a's element, the tile of c (4, 2). */
const [B0, A_ELEMENT, ACCUMULATOR] = [23, 25, 26];
const VECTORS = 11;

/** One step of k: a column of a's tile times a row of the panel. */
function step(): Code {
  return [
    ...each(2, (half) => set(B0 + half, load.v128(get(P), 16 * half))),
    ...each(TILE_ROWS, (row) => [
      ...set(A_ELEMENT, load.splat32(get(TILE_A + row))),
      ...advance(TILE_A + row, i32(4)),
      ...each(2, (half) => {
        const sum = ACCUMULATOR + 2 * row + half;
        return set(sum, f32x4.add(get(sum), f32x4.multiply(get(A_ELEMENT), get(B0 + half))));
      }),
    ]),
    ...advance(P, i32(32)),
  ];
}

/** Four rows of c, eight columns, all of k. */
function tile(): Code {
  const first = (pointers: number, row: number, stride: number) =>
    each(TILE_ROWS, (i) =>
      set(pointers + i, i === 0 ? get(row) : add(get(pointers + i - 1), get(stride))),
    );
  const eachSum = (make: (row: number, half: number) => Code) =>
    each(TILE_ROWS, (row) => each(2, (half) => make(row, half)));
  const sum = (row: number, half: number) => ACCUMULATOR + 2 * row + half;
  return [
    ...first(TILE_A, ROW_A, A_STRIDE),
    ...first(TILE_C, ROW_C, C_STRIDE),
    ...eachSum((row, half) => set(sum(row, half), load.v128(get(TILE_C + row), 16 * half))),
    ...set(P, get(B)),
    ...doWhile(step(), isBelow(get(P), get(PANEL_END))),
    ...eachSum((row, half) => store.v128(get(TILE_C + row), get(sum(row, half)), 16 * half)),
    ...advance(ROW_A, multiply(get(A_STRIDE), i32(TILE_ROWS))),
    ...advance(ROW_C, multiply(get(C_STRIDE), i32(TILE_ROWS))),
  ];
}

/** for each panel of b: for each four rows. m, n and k are at least 1 tile. */
function productFunction(): WasmFunction {
  const panel = [
    ...set(ROW_A, get(A)),
    ...set(ROW_C, get(C)),
    ...set(PANEL_END, add(get(B), multiply(get(K), i32(32)))),
    ...doWhile(tile(), isBelow(get(ROW_A), get(ROWS_END))),
    ...advance(B, get(PANEL_STRIDE)),
    ...advance(C, i32(32)),
  ];
  return {
    name: 'product',
    parameters: 9,
    locals: [
      [POINTERS, I32],
      [VECTORS, V128],
    ],
    body: [
      ...set(ROWS_END, add(get(A), multiply(get(M), get(A_STRIDE)))),
      ...set(C_END, add(get(C), multiply(get(N), i32(4)))),
      ...doWhile(panel, isBelow(get(C), get(C_END))),
    ],
  };
}
