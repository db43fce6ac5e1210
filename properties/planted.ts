// Planted inputs: for every row (request, query token, query head) one key of its KV head points
// along its query and takes all of the weight, so that the output must be that token's row of V and
// nothing else.
//
// Keys are rows of random signs. Two rows of 128 signs agree in 64 places, give or take 6, so the
// planted key scores 128 and the others near 0, 11 standard deviations below; the query is scaled
// so that half of that distance is 48 in the exponent of e, and all other weights together vanish
// beside the rounding of fp16. Two levels survive any quantisation. V names its place: every block
// of 32 channels of every token has a scale, an offset and codes of its own.
//
// One query head of each request reads the last token; the others read the first, both sides of
// record boundaries and anything between. Few heads see little of a long request, so they get a
// second round, in which nobody reads the last token.

import { type ElementType, elementFromF64 } from '../reference/format.js';
import { elementType, firstTokens, type Problem, queryRowCount } from '../reference/problem.js';
import { gridCodeMax, recordTokens } from '../reference/scheme.js';
import type { Case } from './case.js';
import { below, derive, type Key, keyOf, word } from './generator.js';
import type { Inputs } from './kernel.js';
import { tokenOwner } from './pages.js';
import { rowOf, rowPlaces } from './rows.js';

export interface Planted {
  readonly inputs: Inputs;
  /** Token that each row must read, (requests, queryTokens, queryHeads); -1 without tokens. */
  readonly positions: Int32Array;
}

/**
 * Scores of the planted key and of any other differ by this much at least, in units of one channel:
 * half of the head, 5.7 standard deviations or more at 128 channels; a quarter, 6 of them, at 64.
 */
const gap = (headSize: number) => (headSize < 128 ? 16 : headSize / 2);
/** That gap in the exponent of e: e^-48 times a million tokens is 1e-15. */
const GAP_NATS = 48;
/** Exponents of query amplitudes that keep fp16 normal and far from overflow. */
const QUERY_EXPONENT_MIN = -10;
const QUERY_EXPONENT_MAX = 14;
/** Of key amplitudes: their scale (a fifteenth of the range) must not become subnormal either. */
const KEY_EXPONENT_MAX = 8;

const SIGNS = 0x7369676e;
const VALUES = 0x76616c75;
const PLACES = 0x706c6163;
const BLOCK = 32;

/**
 * Places worth reading: the first token and both sides of every kind of boundary. Not the last one
 * if there is another: one query head has it, and its neighbours must read elsewhere.
 */
function notablePositions(tokens: number): number[] {
  const packed = tokens - (tokens % recordTokens);
  const notable = [
    ...[0, packed, packed - 1, recordTokens - 1, recordTokens],
    ...[tokens - 2, packed + 7, packed + 8, packed + 15, packed + 16, 1, 8, 15, 16, 64],
  ].filter((t) => t >= 0 && t < Math.max(tokens - 1, 1));
  return [...new Set(notable)];
}

/** Rounds that show enough of a request. */
export function plantedRounds({ queryHeads }: Problem): number {
  return queryHeads >= 4 ? 1 : 2;
}

/**
 * (requests, queryTokens, queryHeads); in round 0 one head of each query token has the last token
 * that it sees.
 */
function plantedPositions(problem: Problem, key: Key, round: number): Int32Array {
  const { queryHeads } = problem;
  const positions = new Int32Array(queryRowCount(problem)).fill(-1);
  for (const { request, queryToken, queryHead: head, visible } of rowPlaces(problem)) {
    if (visible === 0) continue;
    const notable = notablePositions(visible);
    const ofRequest = derive(derive(derive(key, PLACES), request), round);
    const own = queryToken === 0 ? ofRequest : derive(ofRequest, queryToken);
    const start = below(own, 0, notable.length);
    const atEnd = round === 0 ? below(own, 1, queryHeads) : -1;
    // Every third head reads a token at random, the others walk through the notable places.
    const anywhere = Math.floor((word(own, 2 + head) / 0x100000000) * Math.max(visible - 1, 1));
    const walk = notable[(start + head) % notable.length];
    const position = head === atEnd ? visible - 1 : head % 3 === 2 ? anywhere : walk;
    positions[rowOf(problem, request, queryToken, head)] = position;
  }
  return positions;
}

/**
 * Exponents of the amplitudes of query and key, or null if fp16 cannot hold them.
 */
function amplitudes(softmaxScale: number, headSize: number): { q: number; k: number } | null {
  const needed = GAP_NATS / gap(headSize) / Math.abs(softmaxScale);
  if (!Number.isFinite(needed)) return null;
  let exponent = 0;
  let power = 1;
  for (; power < needed; power *= 2) exponent += 1;
  for (; power / 2 >= needed; power /= 2) exponent -= 1;
  const q = Math.min(Math.max(exponent, QUERY_EXPONENT_MIN), QUERY_EXPONENT_MAX);
  const k = exponent - q;
  return Math.abs(k) <= KEY_EXPONENT_MAX ? { q, k } : null;
}

/** The word of 2^exponent. */
const powerBits = (type: ElementType, exponent: number): number =>
  elementFromF64(type, 2 ** exponent);

/** Writes +-2^exponent by the signs of a token; `flip` 0x8000 turns all of them. */
function writeSigns(out: Uint16Array, at: number, size: number, token: Key, bits: number): void {
  for (let channel = 0; channel < size; channel++) {
    const negative = (word(token, channel >> 5) >>> (channel & 31)) & 1;
    out[at + channel] = bits ^ (negative << 15);
  }
}

function writeValues(
  out: Uint16Array,
  at: number,
  size: number,
  token: Key,
  codeMax: number,
  type: ElementType,
): void {
  for (let first = 0; first < size; first += BLOCK) {
    const block = derive(token, first / BLOCK);
    const unit = 2 ** -below(block, 0, 4);
    const offset = below(block, 1, 16) - 8;
    for (let channel = first; channel < Math.min(first + BLOCK, size); channel++) {
      const place = channel - first;
      // Both ends of the range occur, so a group of 32 is on its own grid.
      const code = place < 2 ? place * codeMax : below(block, 2 + channel, codeMax + 1);
      out[at + channel] = elementFromF64(type, unit * (offset + code));
    }
  }
}

/** null where no query of the type makes a key stand out at this softmax scale. */
export function plant(c: Case, seed: number, round: number): Planted | null {
  const { problem, options } = c;
  const { tokens, kvHeads, headSize } = problem;
  const type = elementType(problem);
  const amplitude = amplitudes(options.softmaxScale, headSize);
  if (amplitude === null) return null;
  const key = keyOf(seed, 4);
  const first = firstTokens(problem);
  const elements = first[tokens.length] * kvHeads * headSize;
  const q = new Uint16Array(queryRowCount(problem) * headSize);
  const k = new Uint16Array(elements);
  const v = new Uint16Array(elements);
  const codeMax = gridCodeMax(c.scheme);
  const owner = tokenOwner(c);
  const rowKey = (stream: number, request: number, head: number, token: number) =>
    derive(derive(derive(derive(key, stream), owner(request, token)), head), token);
  const keyBits = powerBits(type, amplitude.k);
  tokens.forEach((length, request) => {
    for (let token = 0; token < length; token++) {
      for (let head = 0; head < kvHeads; head++) {
        const at = ((first[request] + token) * kvHeads + head) * headSize;
        writeSigns(k, at, headSize, rowKey(SIGNS, request, head, token), keyBits);
        writeValues(v, at, headSize, rowKey(VALUES, request, head, token), codeMax, type);
      }
    }
  });
  const positions = plantedPositions(problem, key, round);
  // A negative softmax scale prefers the smallest product.
  const bits = powerBits(type, amplitude.q) | (options.softmaxScale < 0 ? 0x8000 : 0);
  const places = rowPlaces(problem);
  positions.forEach((position, row) => {
    if (position === -1) return;
    const { request, stored } = places[row];
    const kvHead = stored % kvHeads;
    writeSigns(q, row * headSize, headSize, rowKey(SIGNS, request, kvHead, position), bits);
  });
  return { inputs: { q, k, v }, positions };
}
