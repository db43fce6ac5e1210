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

/** Columns of a panel of b. */
export const PANEL_COLUMNS = 8;
/** Rows of a tile of c: m is rounded up to a multiple of it. */
export const TILE_ROWS = 4;
/** Rows of a that are multiplied with all of b before the next: 256 kB at k = 1024. */
const BLOCK_ROWS = 64;
const PAGE_BYTES = 65536;

export function roundUp(n: number, multiple: number): number {
  return Math.ceil(n / multiple) * multiple;
}

/** Floats of a b (k, n) in panels. */
export function panelFloats(k: number, n: number): number {
  return k * roundUp(n, PANEL_COLUMNS);
}

type Multiply = (
  a: number,
  b: number,
  c: number,
  m: number,
  n: number,
  k: number,
  aStride: number,
  cStride: number,
  panelStride: number,
) => void;

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
  private readonly memory: WebAssemblyMemory;
  private readonly product: Multiply;
  private used = 0;

  /** floats: all that will ever be allocated; the memory is zero. */
  constructor(floats: number) {
    const pages = Math.ceil((floats * 4) / PAGE_BYTES) + 1;
    this.memory = new wasm.Memory({ initial: pages, maximum: pages });
    const module = new wasm.Module(moduleBytes(pages));
    const instance = new wasm.Instance(module, { e: { m: this.memory } });
    this.product = instance.exports.f as Multiply;
  }

  allocate(floats: number): Float32Array {
    const array = new Float32Array(this.memory.buffer, this.used, floats);
    this.used += roundUp(floats, 4) * 4;
    return array;
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
      this.product(
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

// The types of WebAssembly belong to the library of browsers, which this project does not load.
interface WebAssemblyMemory {
  readonly buffer: ArrayBuffer;
}
interface WebAssemblyNames {
  readonly Memory: new (limits: { initial: number; maximum: number }) => WebAssemblyMemory;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (
    module: object,
    imports: object,
  ) => { readonly exports: Readonly<Record<string, unknown>> };
}
const wasm = (globalThis as unknown as { WebAssembly: WebAssemblyNames }).WebAssembly;

// --- The module: WebAssembly core specification 2.0, section 5 (binary format). ---

const I32 = 0x7f;
const V128 = 0x7b;

/** Unsigned LEB128, section 5.2.2. */
function leb(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.push((rest & 127) | (rest > 127 ? 128 : 0));
    rest >>>= 7;
  } while (rest > 0);
  return bytes;
}

const get = (local: number) => [0x20, ...leb(local)];
const set = (local: number) => [0x21, ...leb(local)];
/** i32.const takes a signed LEB128; below 64 both are one byte. */
const constant = (value: number) => [0x41, value];
const add = [0x6a];
const multiplied = [0x6c];
const simd = (opcode: number, ...operands: number[]) => [0xfd, ...leb(opcode), ...operands];
/** Alignment is a hint: 4 bytes, which is what rows have. */
const loadVector = (offset: number) => simd(0x00, 2, ...leb(offset));
const loadSplat = (offset: number) => simd(0x09, 2, ...leb(offset));
const storeVector = (offset: number) => simd(0x0b, 2, ...leb(offset));
const addVectors = simd(0xe4);
const multiplyVectors = simd(0xe6);
const advance = (local: number, by: number[]) => [...get(local), ...by, ...add, ...set(local)];
/** do { body } while (left < right), unsigned. */
const doWhileBelow = (body: number[], left: number, right: number) => [
  ...[0x03, 0x40],
  ...body,
  ...get(left),
  ...get(right),
  ...[0x49, 0x0d, 0x00],
  0x0b,
];

/** Parameters in the order of Multiply, then locals. */
const [A, B, C, M, N, K, A_STRIDE, C_STRIDE, PANEL_STRIDE] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const [ROW_A, ROW_C, PANEL_END, C_END, ROWS_END, P] = [9, 10, 11, 12, 13, 14];
/** Pointers to the four rows of a and of c in a tile. */
const [TILE_A, TILE_C] = [15, 19];
const POINTERS = 14;
/** b's two vectors, a's element, the tile of c (4, 2). */
const [B0, A_ELEMENT, ACCUMULATOR] = [23, 25, 26];
const VECTORS = 11;

const forRows = (make: (row: number) => number[]) =>
  Array.from({ length: TILE_ROWS }, (_, row) => make(row)).flat();
const forHalves = (make: (half: number) => number[]) => [0, 1].flatMap(make);

/** One step of k: a column of a's tile times a row of the panel. */
function step(): number[] {
  return [
    ...forHalves((half) => [...get(P), ...loadVector(16 * half), ...set(B0 + half)]),
    ...forRows((row) => [
      ...get(TILE_A + row),
      ...loadSplat(0),
      ...set(A_ELEMENT),
      ...advance(TILE_A + row, constant(4)),
      ...forHalves((half) => {
        const sum = ACCUMULATOR + 2 * row + half;
        const product = [...get(A_ELEMENT), ...get(B0 + half), ...multiplyVectors];
        return [...get(sum), ...product, ...addVectors, ...set(sum)];
      }),
    ]),
    ...advance(P, constant(32)),
  ];
}

/** Four rows of c, eight columns, all of k. */
function tile(): number[] {
  const first = (pointers: number, row: number, stride: number) =>
    forRows((i) =>
      i === 0
        ? [...get(row), ...set(pointers)]
        : [...get(pointers + i - 1), ...get(stride), ...add, ...set(pointers + i)],
    );
  const eachSum = (make: (row: number, half: number) => number[]) =>
    forRows((row) => forHalves((half) => make(row, half)));
  return [
    ...first(TILE_A, ROW_A, A_STRIDE),
    ...first(TILE_C, ROW_C, C_STRIDE),
    ...eachSum((row, half) => [
      ...get(TILE_C + row),
      ...loadVector(16 * half),
      ...set(ACCUMULATOR + 2 * row + half),
    ]),
    ...[...get(B), ...set(P)],
    ...doWhileBelow(step(), P, PANEL_END),
    ...eachSum((row, half) => [
      ...get(TILE_C + row),
      ...get(ACCUMULATOR + 2 * row + half),
      ...storeVector(16 * half),
    ]),
    ...advance(ROW_A, [...get(A_STRIDE), ...constant(4), ...multiplied]),
    ...advance(ROW_C, [...get(C_STRIDE), ...constant(4), ...multiplied]),
  ];
}

/** for each panel of b: for each four rows. m, n and k are at least 1 tile. */
function body(): number[] {
  const product = (x: number[], y: number[]) => [...x, ...y, ...multiplied];
  const panel = [
    ...[...get(A), ...set(ROW_A), ...get(C), ...set(ROW_C)],
    ...[...get(B), ...product(get(K), constant(32)), ...add, ...set(PANEL_END)],
    ...doWhileBelow(tile(), ROW_A, ROWS_END),
    ...advance(B, get(PANEL_STRIDE)),
    ...advance(C, constant(32)),
  ];
  return [
    ...[...get(A), ...product(get(M), get(A_STRIDE)), ...add, ...set(ROWS_END)],
    ...[...get(C), ...product(get(N), constant(4)), ...add, ...set(C_END)],
    ...doWhileBelow(panel, C, C_END),
    0x0b,
  ];
}

function moduleBytes(pages: number): Uint8Array {
  const text = (name: string) => [name.length, ...Buffer.from(name)];
  const section = (id: number, content: number[]) => [id, ...leb(content.length), ...content];
  const code = [2, POINTERS, I32, VECTORS, V128, ...body()];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 9, ...Array(9).fill(I32), 0]),
    ...section(2, [1, ...text('e'), ...text('m'), 0x02, 0x01, ...leb(pages), ...leb(pages)]),
    ...section(3, [1, 0]),
    ...section(7, [1, ...text('f'), 0x00, 0]),
    ...section(10, [1, ...leb(code.length), ...code]),
  ]);
}
