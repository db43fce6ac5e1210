/**
 * block-math.ts in vectors of two float64: WebAssembly, one function for each product.
 *
 * dot holds 2 queries x 4 tokens in registers, a lane for even and one for odd channels;
 * addWeighted 2 queries x 8 channels. Both read a row of K or V once for two queries. What is left
 * of an odd number of queries is done by the same code for one. Rows are taken four at a time: up
 * to three behind the last one are read, and their results are written where nobody looks.
 * block-elements.ts has the functions without sums over a row.
 *
 * Rows whose size is no multiple of 8 are left to the plain functions, which have the same bits.
 * Every function is for at least one row.
 */
import { columnSums, deviations, scaleByChannel, scaleByGroup } from './block-elements.js';
import { type BlockMath, plainBlock } from './block-math.js';
import {
  Arena,
  add,
  advance,
  type Code,
  doWhile,
  each,
  f64,
  f64x2,
  get,
  I32,
  i32,
  isBelow,
  load,
  locals,
  multiply,
  set,
  store,
  subtract,
  V128,
  type WasmFunction,
  when,
  whileTrue,
  zeroVector,
} from './wasm-code.js';

const tileQueries = 2;
const tileTokens = 4;
const tileVectors = 4; // of 2 channels each
const bytes = 8;

/** Pointers to consecutive rows: first, first + stride, ... */
const rowPointers = (pointers: number, count: number, first: Code, stride: Code): Code =>
  each(count, (i) => set(pointers + i, i === 0 ? first : add(get(pointers + i - 1), stride)));

/** Runs tile(2) while two rows are left before `end`, then tile(1) if one is. */
function byTwoRows(row: number, end: number, stride: Code, tile: (rows: number) => Code): Code {
  const next = (rows: number) => advance(row, multiply(i32(rows), stride));
  return [
    ...whileTrue(isBelow(add(get(row), stride), get(end)), [...tile(2), ...next(2)]),
    ...when(isBelow(get(row), get(end)), tile(1)),
  ];
}

/** (rows, count, x, queries, out): pointers, and sizes in bytes of a row of each. */
function dotFunction(): WasmFunction {
  const p = locals(['rows', 'end', 'size', 'x', 'xEnd', 'out', 'stride']);
  const l = locals(['query', 'target', 'last', 'x0', 'x1', 't0', 't1', 't2', 't3'], 7);
  const a = 16; // sums (queries, tokens)
  const v = a + tileQueries * tileTokens; // a query's vectors
  const sum = (h: number, t: number) => a + h * tileTokens + t;
  const tile = (queries: number): Code => {
    const pointers = [...[l.x0, l.x1].slice(0, queries), l.t0, l.t1, l.t2, l.t3];
    // Two vectors a step: 4 channels.
    const step = each(2, (half) => [
      ...each(queries, (h) => set(v + h, load.v128(get(l.x0 + h), 16 * half))),
      ...each(tileTokens, (t) => [
        ...set(v + tileQueries, load.v128(get(l.t0 + t), 16 * half)),
        ...each(queries, (h) => {
          const product = f64x2.multiply(get(v + h), get(v + tileQueries));
          return set(sum(h, t), f64x2.add(get(sum(h, t)), product));
        }),
      ]),
    ]);
    return [
      ...rowPointers(l.x0, queries, get(l.query), get(p.size)),
      ...rowPointers(l.t0, tileTokens, get(p.rows), get(p.size)),
      ...set(l.last, add(get(l.t0), get(p.size))),
      ...each(queries * tileTokens, (i) => set(a + i, zeroVector)),
      ...doWhile(
        [...step, ...pointers.flatMap((pointer) => advance(pointer, i32(4 * bytes)))],
        isBelow(get(l.t0), get(l.last)),
      ),
      ...each(queries, (h) => [
        ...each(tileTokens, (t) => {
          const both = f64.add(f64x2.lane(get(sum(h, t)), 0), f64x2.lane(get(sum(h, t)), 1));
          return store.f64(get(l.target), both, bytes * t);
        }),
        ...advance(l.target, get(p.stride)),
      ]),
    ];
  };
  const quad = [
    ...set(l.query, get(p.x)),
    ...set(l.target, get(p.out)),
    ...byTwoRows(l.query, p.xEnd, get(p.size), tile),
    ...advance(p.rows, multiply(i32(tileTokens), get(p.size))),
    ...advance(p.out, i32(tileTokens * bytes)),
  ];
  return {
    name: 'dot',
    parameters: 7,
    locals: [
      [9, I32],
      [tileQueries * tileTokens + tileQueries + 1, V128],
    ],
    body: whileTrue(isBelow(get(p.rows), get(p.end)), quad),
  };
}

function addWeightedFunction(): WasmFunction {
  const p = locals(['rows', 'end', 'size', 'weights', 'stride', 'sums', 'sumsEnd']);
  const l = locals(['column', 'columnEnd', 'target', 'weight', 'row', 's0', 's1', 'w0', 'w1'], 7);
  const a = 16; // sums (queries, vectors)
  const v = a + tileQueries * tileVectors; // of a row
  const w = v + tileVectors;
  const sum = (h: number, i: number) => a + h * tileVectors + i;
  const tile = (queries: number): Code => {
    const step = [
      ...each(tileVectors, (i) => set(v + i, load.v128(get(l.row), 16 * i))),
      ...each(queries, (h) => [
        ...set(w, load.splat64(get(l.w0 + h))),
        ...advance(l.w0 + h, i32(bytes)),
        ...each(tileVectors, (i) =>
          set(sum(h, i), f64x2.add(get(sum(h, i)), f64x2.multiply(get(w), get(v + i)))),
        ),
      ]),
      ...advance(l.row, get(p.size)),
    ];
    const sums = (make: (h: number, i: number) => Code) =>
      each(queries, (h) => each(tileVectors, (i) => make(h, i)));
    return [
      ...rowPointers(l.s0, queries, get(l.target), get(p.size)),
      ...rowPointers(l.w0, queries, get(l.weight), get(p.stride)),
      ...set(l.row, get(l.column)),
      ...sums((h, i) => set(sum(h, i), load.v128(get(l.s0 + h), 16 * i))),
      ...doWhile(step, isBelow(get(l.row), get(p.end))),
      ...sums((h, i) => store.v128(get(l.s0 + h), get(sum(h, i)), 16 * i)),
      ...advance(l.weight, multiply(i32(queries), get(p.stride))),
    ];
  };
  const columns = tileVectors * 2 * bytes;
  const slab = [
    // The first tile starts at the slab's own column of the first query.
    ...set(l.target, add(get(p.sums), subtract(get(l.column), get(p.rows)))),
    ...set(l.weight, get(p.weights)),
    ...byTwoRows(l.target, p.sumsEnd, get(p.size), tile),
    ...advance(l.column, i32(columns)),
  ];
  return {
    name: 'addWeighted',
    parameters: 7,
    locals: [
      [9, I32],
      [tileQueries * tileVectors + tileVectors + 1, V128],
    ],
    body: [
      ...set(l.column, get(p.rows)),
      ...set(l.columnEnd, add(get(p.rows), get(p.size))),
      ...whileTrue(isBelow(get(l.column), get(l.columnEnd)), slab),
    ],
  };
}

const functions = [
  dotFunction(),
  addWeightedFunction(),
  scaleByChannel(),
  scaleByGroup(),
  columnSums(),
  deviations(),
];
/** Three rows of this size fit in the page that an arena has to spare. */
const sizeMax = 2048;
const inVectors = (size: number) => size % 8 === 0;
const fits = (size: number) => inVectors(size) && size <= sizeMax;
const at = (x: Float64Array | Uint8Array) => x.byteOffset;
const endOf = (x: Float64Array) => x.byteOffset + x.byteLength;

let shared: Arena | null = null;

/**
 * Room for arrays of `length` bytes in all, until the next call: one memory serves every call of
 * this process, since nothing here waits.
 */
export function openBlockMath(length: number): BlockMath {
  if (shared === null || shared.bytes < length) shared = new Arena(length, functions);
  const arena = shared;
  const run = arena.functions;
  arena.reset();
  return {
    array: (own) => arena.f64(own).fill(0),
    codes: (own) => arena.u8(own),

    scaleByChannel(codes, scales, zeros, out, count) {
      const size = scales.length;
      if (!inVectors(size)) return plainBlock.scaleByChannel(codes, scales, zeros, out, count);
      const outEnd = at(out) + bytes * size * count;
      run.scaleByChannel(at(codes), at(scales), endOf(scales), at(zeros), at(out), outEnd);
    },

    scaleByGroup(codes, scales, zeros, out, groups, group) {
      if (!inVectors(group))
        return plainBlock.scaleByGroup(codes, scales, zeros, out, groups, group);
      const width = bytes * group;
      const outEnd = at(out) + width * groups;
      run.scaleByGroup(at(codes), at(scales), at(zeros), at(out), outEnd, width);
    },

    dot(rows, count, size, x, out, stride) {
      if (!fits(size)) return plainBlock.dot(rows, count, size, x, out, stride);
      const end = at(rows) + bytes * size * count;
      run.dot(at(rows), end, bytes * size, at(x), endOf(x), at(out), bytes * stride);
    },

    addWeighted(rows, count, size, weights, stride, sums) {
      if (!fits(size)) return plainBlock.addWeighted(rows, count, size, weights, stride, sums);
      const width = bytes * size;
      const end = at(rows) + width * count;
      run.addWeighted(at(rows), end, width, at(weights), bytes * stride, at(sums), endOf(sums));
    },

    columnSums(rows, count, sums, largest) {
      const size = sums.length;
      if (!inVectors(size)) return plainBlock.columnSums(rows, count, sums, largest);
      const end = at(rows) + bytes * size * count;
      run.columnSums(at(rows), end, bytes * size, at(sums), at(largest));
    },

    deviations(rows, count, centre, out) {
      const size = centre.length;
      if (!inVectors(size)) return plainBlock.deviations(rows, count, centre, out);
      const end = at(rows) + bytes * size * count;
      run.deviations(at(rows), end, at(centre), bytes * size, at(out));
    },
  };
}
