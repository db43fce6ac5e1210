/**
 * The memory that boundL1 works in: blocks of 128 tokens of one KV head, for all queries of that
 * head. One set serves all heads of a call, and lies where block-simd.ts reads it.
 */
import type { BlockMath } from './block-math.js';
import { blockTokens, type RowRoom, rowRoom, rowRoomBytes } from './block-rows.js';
import { openBlockMath } from './block-simd.js';

export interface Scratch {
  readonly math: BlockMath;
  /** exact rows */
  readonly room: RowRoom;
  /** (blockTokens, headSize) each: rows of the shadow, others made of them */
  readonly shadowRows: Float64Array;
  readonly magnitudes: Float64Array;
  readonly deviations: Float64Array;
  /** (queries, headSize) each: q, |q| as it aligns, what codes are multiplied with */
  readonly q: Float64Array;
  readonly qMagnitudes: Float64Array;
  readonly shifts: Float64Array;
  /** (queries, headSize) each: sums over the tokens (value-pass.ts) */
  readonly output: Float64Array;
  readonly shadowPacked: Float64Array;
  readonly shadowTail: Float64Array;
  readonly deviation: Float64Array;
  readonly magnitude: Float64Array;
  /** (headSize): largest magnitude of each channel of a block */
  readonly largest: Float64Array;
  /** (headSize): mean of each channel of a block */
  readonly centre: Float64Array;
  /** (queries, blockTokens) each: scores of a block, or weights */
  readonly exact: Float64Array;
  readonly shadow: Float64Array;
  readonly error: Float64Array;
}

export function boundScratch(queries: number, headSize: number): Scratch {
  const [rows, elements, pairs] = [
    blockTokens * headSize,
    queries * headSize,
    queries * blockTokens,
  ];
  const math = openBlockMath(
    rowRoomBytes(headSize) + 8 * (3 * rows + 8 * elements + 2 * headSize + 3 * pairs),
  );
  const block = () => math.array(rows);
  const ofQueries = () => math.array(elements);
  const ofPairs = () => math.array(pairs);
  return {
    math,
    room: rowRoom(math, headSize),
    ...{ shadowRows: block(), magnitudes: block(), deviations: block() },
    ...{ q: ofQueries(), qMagnitudes: ofQueries(), shifts: ofQueries() },
    ...{ output: ofQueries(), shadowPacked: ofQueries(), shadowTail: ofQueries() },
    ...{ deviation: ofQueries(), magnitude: ofQueries() },
    ...{ largest: math.array(headSize), centre: math.array(headSize) },
    ...{ exact: ofPairs(), shadow: ofPairs(), error: ofPairs() },
  };
}

/** Tokens [first, first + count) of x (queries, tokens) into a block of it. */
export function readBlock(
  x: Float64Array,
  tokens: number,
  first: number,
  count: number,
  block: Float64Array,
): void {
  for (let h = 0; h * blockTokens < block.length; h++) {
    // A loop, since a view of so few numbers costs more than they do.
    const [from, to] = [h * tokens + first, h * blockTokens];
    for (let t = 0; t < count; t++) block[to + t] = x[from + t];
  }
}

/** The same from a block into x. */
export function writeBlock(
  block: Float64Array,
  x: Float64Array,
  tokens: number,
  first: number,
  count: number,
): void {
  for (let h = 0; h * blockTokens < block.length; h++) {
    const [from, to] = [h * blockTokens, h * tokens + first];
    for (let t = 0; t < count; t++) x[to + t] = block[from + t];
  }
}
