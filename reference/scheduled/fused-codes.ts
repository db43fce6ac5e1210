/**
 * One fused sum of codes and an operand for many items at once, in vectors of two float64: of the
 * tokens of a part with a run of channels of q', or of the channels with a run of tokens' P'.
 *
 * It is a step of codeChain (code-chain.ts, which is its meaning) for each item, and gives the same
 * bits. An accumulator is kept as what it is worth. With e the largest exponent at which a term or
 * the accumulator aligns, U = 2^(F - e):
 *   terms = sum of trunc(code (x U)), integers below 2^31 in all, exact in float64
 *   next  = (trunc(accumulator U) + terms) cut to 24 bits, / U
 * Codes lie as float64 in a tile, (runs, items, n): what one fused sum needs is one run of numbers,
 * and all queries of a head read the same tile.
 */
import {
  Arena,
  add,
  advance,
  and,
  type Code,
  doWhile,
  each,
  f64,
  f64x2,
  get,
  I32,
  i32,
  isBelow,
  isEqual,
  largerI32,
  load,
  locals,
  multiply,
  powerOf,
  set,
  shiftRight,
  store,
  subtract,
  V128,
  type WasmFunction,
  when,
  zeroVector,
} from '../wasm-code.js';
import { type Core, sortByAlign } from './code-chain.js';

/** Exponent of nothing at all: 2^(F + 400) is still a float64. */
const nothing = -400;

/**
 * (item, x, order, orderEnd, accumulator, accumulatorEnd, fraction): codes of the first item, the
 * operand, its pairs of offset and exponent by descending exponent, and the accumulators.
 */
function fusedFunction(n: number): WasmFunction {
  const p = locals(['item', 'x', 'order', 'orderEnd', 'sum', 'sumEnd', 'fraction']);
  const l = locals(['e', 'at'], 7);
  const [scale, terms, more] = [9, 10, 11];
  const align = [
    ...when(
      f64.isNotZero(load.f64(add(get(p.item), load.i32(get(l.at))))),
      set(l.e, load.i32(get(l.at), 4)),
    ),
    ...advance(l.at, i32(8)),
  ];
  const isOpen = and(isBelow(get(l.at), get(p.orderEnd)), isEqual(get(l.e), i32(nothing)));
  const exponent = subtract(
    and(shiftRight(load.i32(get(p.sum), 4), i32(20)), i32(0x7ff)),
    i32(1023),
  );
  const own = f64.truncate(f64.multiply(load.f64(get(p.sum)), f64x2.lane(get(scale), 0)));
  const both = get(terms);
  const total = f64.add(own, f64.add(f64x2.lane(both, 0), f64x2.lane(both, 1)));
  const body: Code = [
    ...set(l.e, i32(nothing)),
    ...set(l.at, get(p.order)),
    ...doWhile(align, isOpen),
    ...set(l.e, largerI32(get(l.e), i32(nothing))),
    ...set(l.e, largerI32(get(l.e), exponent)),
    ...set(scale, f64x2.splat(powerOf(subtract(get(p.fraction), get(l.e))))),
    ...set(terms, zeroVector),
    ...set(more, zeroVector),
    ...each(n / 2, (i) => {
      const operand = f64x2.multiply(load.v128(get(p.x), 16 * i), get(scale));
      const term = f64x2.truncate(f64x2.multiply(load.v128(get(p.item), 16 * i), operand));
      const to = i % 2 === 0 ? terms : more;
      return set(to, f64x2.add(get(to), term));
    }),
    ...set(terms, f64x2.add(get(terms), get(more))),
    ...store.f64(
      get(p.sum),
      f64.multiply(f64.cutToF32(total), powerOf(subtract(get(l.e), get(p.fraction)))),
    ),
    ...advance(p.item, i32(8 * n)),
    ...advance(p.sum, i32(8)),
  ];
  return {
    name: `fused${n}`,
    parameters: 7,
    locals: [
      [2, I32],
      [3, V128],
    ],
    body: doWhile(body, isBelow(get(p.sum), get(p.sumEnd))),
  };
}

/**
 * (codes, itemStride, itemsEnd, stride, codesEnd, out): a tile of codes at codes + item itemStride
 * + i stride; itemsEnd is behind the last item's first code, codesEnd behind the first item's last.
 */
function tileFunction(n: number): WasmFunction {
  const p = locals(['codes', 'itemStride', 'itemsEnd', 'stride', 'codesEnd', 'out']);
  const l = locals(['item', 'at', 'run'], 6);
  const item = [
    ...set(l.at, get(l.item)),
    ...each(n, (i) => [
      ...store.f64(get(p.out), f64.fromI32(load.u8(get(l.at))), 8 * i),
      ...advance(l.at, get(p.stride)),
    ]),
    ...advance(p.out, i32(8 * n)),
    ...advance(l.item, get(p.itemStride)),
  ];
  const run = multiply(i32(n), get(p.stride));
  const body = [
    ...set(l.item, get(p.codes)),
    ...doWhile(item, isBelow(get(l.item), get(p.itemsEnd))),
    ...advance(p.codes, run),
    ...advance(p.itemsEnd, run),
  ];
  return {
    name: `tile${n}`,
    parameters: 6,
    locals: [[3, I32]],
    body: doWhile(body, isBelow(get(p.codes), get(p.codesEnd))),
  };
}

const functions = [8, 16].flatMap((n) => [fusedFunction(n), tileFunction(n)]);
let shared: Arena | null = null;

/** Codes of a part as float64, (runs, items, n). */
export interface CodeTile {
  readonly codes: Float64Array;
  readonly items: number;
  readonly runs: number;
}

/** Room for the tiles of a part and for one operand, until the next one is made. */
export class FusedCodes {
  /** accumulators, (items) */
  readonly sums: Float64Array;
  /** operand and the exponents at which it aligns with a code, (channels or tokens) */
  readonly x: Float64Array;
  readonly align: Int32Array;
  private readonly order: Int32Array;
  /** offset of an item's code in bytes, and its exponent, by descending exponent in each run */
  private readonly pairs: Int32Array;
  private readonly tiles: readonly Float64Array[];
  /** codes of a part, (tokens, channels), and zeros behind them */
  private readonly codes: Uint8Array;
  private readonly runFused: (...parameters: number[]) => void;
  private readonly runTile: (...parameters: number[]) => void;

  constructor(
    private readonly core: Core,
    headSize: number,
  ) {
    const most = Math.max(Math.ceil(headSize / 16) * 16, 128);
    const bytes = 17 * most * (128 + 16) + 32 * most;
    if (shared === null || shared.bytes < bytes) shared = new Arena(bytes, functions);
    const arena = shared;
    arena.reset();
    this.sums = arena.f64(most);
    this.x = arena.f64(most);
    this.pairs = arena.i32(2 * most);
    this.tiles = [arena.f64(most * 128), arena.f64(most * 128)];
    this.align = new Int32Array(most);
    this.order = new Int32Array(most);
    this.codes = arena.u8(most * (128 + 16));
    this.runFused = arena.functions[`fused${core.fusedProducts}`];
    this.runTile = arena.functions[`tile${core.fusedProducts}`];
  }

  /** A tile whose items are tokens and whose runs are of channels. codes: (tokens, headSize) */
  keys(codes: Uint8Array, headSize: number): CodeTile {
    const tokens = codes.length / headSize;
    return this.tile(0, codes, tokens, headSize, headSize, 1);
  }

  /** A tile whose items are channels and whose runs are of tokens. */
  values(codes: Uint8Array, headSize: number): CodeTile {
    return this.tile(1, codes, headSize, 1, codes.length / headSize, headSize);
  }

  /** Item i of `items` has its codes, `length` of them, at i itemStride + j stride. */
  private tile(
    index: 0 | 1,
    codes: Uint8Array,
    items: number,
    itemStride: number,
    length: number,
    stride: number,
  ): CodeTile {
    const n = this.core.fusedProducts;
    const out = this.tiles[index];
    this.codes.set(codes);
    this.codes.fill(0, codes.length, codes.length + n * stride); // what the last run lacks
    const from = this.codes.byteOffset;
    const itemsEnd = from + items * itemStride;
    this.runTile(from, itemStride, itemsEnd, stride, from + length * stride, out.byteOffset);
    return { codes: out, items, runs: Math.ceil(length / n) };
  }

  /** Takes x and align, (length), as they are now. */
  setOperand(length: number): void {
    const { x, align, order, pairs } = this;
    const n = this.core.fusedProducts;
    sortByAlign(order.subarray(0, length), align, n);
    for (let i = 0; i < length; i++) {
      pairs[2 * i] = 8 * (order[i] % n);
      pairs[2 * i + 1] = align[order[i]];
    }
    for (let i = length; i % n !== 0; i++) x[i] = 0;
  }

  /**
   * Adds fused sums of runs [from, to) of the operand to sums [first, end), which belong to the
   * items of the same index. length: of the operand.
   */
  add(tile: CodeTile, from: number, to: number, length: number, first: number, end: number): void {
    const { sums, x, pairs, core } = this;
    const n = core.fusedProducts;
    const [sumsAt, sumsEnd] = [sums.byteOffset + 8 * first, sums.byteOffset + 8 * end];
    for (let r = from; r < to; r++) {
      const item = tile.codes.byteOffset + 8 * n * (r * tile.items + first);
      const order = pairs.byteOffset + 8 * n * r;
      const orderEnd = pairs.byteOffset + 8 * Math.min(n * (r + 1), length);
      const own = x.byteOffset + 8 * n * r;
      this.runFused(item, own, order, orderEnd, sumsAt, sumsEnd, core.fraction);
    }
  }
}
