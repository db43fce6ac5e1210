/**
 * keyRows and valueRows of cache.ts for one block of at most 128 tokens, in the memory that
 * block-math.ts works in, and with its functions where tokens are packed.
 */
import type { BlockMath } from './block-math.js';
import { type HeadCache, keyRows, valueRows } from './cache.js';
import { f64Array } from './format.js';
import type { Quantized } from './quantize.js';
import { channelGroup } from './scheme.js';

/** Tokens of a block: a record's, and one block never has packed tokens and others. */
export const blockTokens = 128;

export interface RowRoom {
  readonly math: BlockMath;
  /** (blockTokens, headSize) */
  readonly rows: Float64Array;
  /** codes that rows were made of, as rows */
  readonly codes: Uint8Array;
  /** parameters of rows, at most as many as rows and codes */
  readonly scales: Float64Array;
  readonly zeros: Float64Array;
}

/** Parameters of a block, at most: each is that of 8 elements or more. */
const parametersMax = (headSize: number) => (blockTokens * headSize) / 8;

export function rowRoomBytes(headSize: number): number {
  return blockTokens * headSize * 9 + 16 * parametersMax(headSize);
}

export function rowRoom(math: BlockMath, headSize: number): RowRoom {
  const elements = blockTokens * headSize;
  const parameters = () => math.array(parametersMax(headSize));
  return {
    ...{ math, rows: math.array(elements), codes: math.codes(elements) },
    ...{ scales: parameters(), zeros: parameters() },
  };
}

/** Rows whose parameters belong to a token and a group of channels. */
function perToken(head: HeadCache, own: Quantized, first: number, count: number, r: RowRoom): void {
  const { headSize } = head;
  const group = channelGroup(head.scheme, headSize);
  const groups = (count * headSize) / group;
  const from = (first * headSize) / group;
  f64Array(own.scales.subarray(from, from + groups), r.scales);
  f64Array(own.zeros.subarray(from, from + groups), r.zeros);
  r.codes.set(own.codes.subarray(first * headSize, (first + count) * headSize));
  r.math.scaleByGroup(r.codes, r.scales, r.zeros, r.rows, groups, group);
}

/** Keys whose parameters belong to a channel and a group of tokens. */
function perChannel({ headSize, scheme, k }: HeadCache, first: number, count: number, r: RowRoom) {
  const [scales, zeros] = [r.scales.subarray(0, headSize), r.zeros.subarray(0, headSize)];
  r.codes.set(k.codes.subarray(first * headSize, (first + count) * headSize));
  for (let t = 0; t < count; ) {
    const own = Math.floor((first + t) / scheme.group);
    const end = Math.min((own + 1) * scheme.group - first, count);
    f64Array(k.scales.subarray(own * headSize, (own + 1) * headSize), scales);
    f64Array(k.zeros.subarray(own * headSize, (own + 1) * headSize), zeros);
    const [codes, rows] = [r.codes.subarray(t * headSize), r.rows.subarray(t * headSize)];
    r.math.scaleByChannel(codes, scales, zeros, rows, end - t);
    t = end;
  }
}

/** Keys of tokens [first, first + count) into room.rows. */
export function blockKeys(head: HeadCache, first: number, count: number, room: RowRoom): void {
  if (first >= head.packed) keyRows(head, first, count, room.rows);
  else if (head.scheme.kAxis === 'token') perToken(head, head.k, first, count, room);
  else perChannel(head, first, count, room);
}

/** Values of tokens [first, first + count) into room.rows. */
export function blockValues(head: HeadCache, first: number, count: number, room: RowRoom): void {
  if (first >= head.packed) valueRows(head, first, count, room.rows);
  else perToken(head, head.v, first, count, room);
}
