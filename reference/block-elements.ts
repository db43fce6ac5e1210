/**
 * The functions of block-math.ts that take elements one by one, in vectors: eight channels a step,
 * which is a cache line of float64 and half a load of codes.
 */
import {
  add,
  advance,
  type Code,
  doWhile,
  each,
  f64x2,
  get,
  I32,
  i16x8,
  i32,
  isBelow,
  load,
  locals,
  set,
  store,
  upperHalf,
  V128,
  type WasmFunction,
  zeroVector,
} from './wasm-code.js';

/** Vectors of a step, and bytes of them. */
const vectors = 4;
const step = 64;

/** Eight codes at a pointer as float64 in locals [to, to + 4); words: two locals more. */
function readCodes(pointer: number, words: number, to: number): Code {
  return [
    ...set(words, load.widened8(get(pointer))),
    ...set(words + 1, i16x8.widenHigh(get(words))),
    ...set(words, i16x8.widenLow(get(words))),
    ...each(2, (half) => [
      ...set(to + 2 * half, f64x2.fromI32x4(get(words + half))),
      ...set(to + 2 * half + 1, f64x2.fromI32x4(upperHalf(get(words + half)))),
    ]),
  ];
}

/** (codes, scales, scalesEnd, zeros, out, outEnd) */
export function scaleByChannel(): WasmFunction {
  const p = locals(['codes', 'scales', 'scalesEnd', 'zeros', 'out', 'outEnd']);
  const l = locals(['scale', 'zero'], 6);
  const v = 8;
  const eight = [
    ...readCodes(p.codes, v + vectors, v),
    ...each(vectors, (i) => {
      const scaled = f64x2.multiply(get(v + i), load.v128(get(l.scale), 16 * i));
      const value = f64x2.add(scaled, load.v128(get(l.zero), 16 * i));
      return store.v128(get(p.out), value, 16 * i);
    }),
    ...advance(p.codes, i32(8)),
    ...[l.scale, l.zero, p.out].flatMap((pointer) => advance(pointer, i32(step))),
  ];
  const row = [
    ...set(l.scale, get(p.scales)),
    ...set(l.zero, get(p.zeros)),
    ...doWhile(eight, isBelow(get(l.scale), get(p.scalesEnd))),
  ];
  return {
    name: 'scaleByChannel',
    parameters: 6,
    locals: [
      [2, I32],
      [vectors + 2, V128],
    ],
    body: doWhile(row, isBelow(get(p.out), get(p.outEnd))),
  };
}

/** (codes, scales, zeros, out, outEnd, bytes of a group of out) */
export function scaleByGroup(): WasmFunction {
  const p = locals(['codes', 'scales', 'zeros', 'out', 'outEnd', 'group']);
  const groupEnd = 6;
  const v = 7;
  const [scale, zero] = [v + vectors + 2, v + vectors + 3];
  const eight = [
    ...readCodes(p.codes, v + vectors, v),
    ...each(vectors, (i) => {
      const value = f64x2.add(f64x2.multiply(get(v + i), get(scale)), get(zero));
      return store.v128(get(p.out), value, 16 * i);
    }),
    ...advance(p.codes, i32(8)),
    ...advance(p.out, i32(step)),
  ];
  const group = [
    ...set(scale, load.splat64(get(p.scales))),
    ...set(zero, load.splat64(get(p.zeros))),
    ...set(groupEnd, add(get(p.out), get(p.group))),
    ...doWhile(eight, isBelow(get(p.out), get(groupEnd))),
    ...advance(p.scales, i32(8)),
    ...advance(p.zeros, i32(8)),
  ];
  return {
    name: 'scaleByGroup',
    parameters: 6,
    locals: [
      [1, I32],
      [vectors + 4, V128],
    ],
    body: doWhile(group, isBelow(get(p.out), get(p.outEnd))),
  };
}

/** (rows, end, bytes of a row, sums, largest) */
export function columnSums(): WasmFunction {
  const p = locals(['rows', 'end', 'size', 'sums', 'largest']);
  const l = locals(['row', 'rowsEnd'], 5);
  const [sum, max, x] = [7, 7 + vectors, 7 + 2 * vectors];
  const row = [
    ...each(vectors, (i) => [
      ...set(x, load.v128(get(l.row), 16 * i)),
      ...set(sum + i, f64x2.add(get(sum + i), get(x))),
      ...set(max + i, f64x2.larger(get(max + i), f64x2.absolute(get(x)))),
    ]),
    ...advance(l.row, get(p.size)),
  ];
  const slab = [
    ...each(2 * vectors, (i) => set(sum + i, zeroVector)),
    ...set(l.row, get(p.rows)),
    ...doWhile(row, isBelow(get(l.row), get(p.end))),
    ...each(vectors, (i) => [
      ...store.v128(get(p.sums), get(sum + i), 16 * i),
      ...store.v128(get(p.largest), get(max + i), 16 * i),
    ]),
    ...[p.rows, p.sums, p.largest].flatMap((pointer) => advance(pointer, i32(step))),
  ];
  return {
    name: 'columnSums',
    parameters: 5,
    locals: [
      [2, I32],
      [2 * vectors + 1, V128],
    ],
    body: [
      ...set(l.rowsEnd, add(get(p.rows), get(p.size))),
      ...doWhile(slab, isBelow(get(p.rows), get(l.rowsEnd))),
    ],
  };
}

/** (rows, end, centre, bytes of a row, out) */
export function deviations(): WasmFunction {
  const p = locals(['rows', 'end', 'centre', 'size', 'out']);
  const l = locals(['rowEnd', 'mean'], 5);
  const eight = [
    ...each(vectors, (i) => {
      const apart = f64x2.subtract(load.v128(get(p.rows), 16 * i), load.v128(get(l.mean), 16 * i));
      return store.v128(get(p.out), f64x2.absolute(apart), 16 * i);
    }),
    ...[p.rows, l.mean, p.out].flatMap((pointer) => advance(pointer, i32(step))),
  ];
  const row = [
    ...set(l.rowEnd, add(get(p.rows), get(p.size))),
    ...set(l.mean, get(p.centre)),
    ...doWhile(eight, isBelow(get(p.rows), get(l.rowEnd))),
  ];
  return {
    name: 'deviations',
    parameters: 5,
    locals: [[2, I32]],
    body: doWhile(row, isBelow(get(p.rows), get(p.end))),
  };
}
