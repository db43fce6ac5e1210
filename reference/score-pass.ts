/**
 * First pass of the bound: exact scores, shadow scores and score errors of all tokens and queries
 * of one KV head, as base-2 exponents t = c q.k with c = softmaxScale log2 e.
 *
 * error_j = |c| (terms of score-bound.ts + 4 u magnitude_j). The 4 u: the rounded c (1.22 u: log2 e
 * to f32 and the product), the products with it, their sum; a kernel that multiplies by the scale
 * and by log2 e one after the other needs one more. K per token adds 4 u for the roundings of a
 * group, one for each group that is added, and one for their second orders. 2^-44 pays this file's
 * own float64 sums, and bf16 rows get 2^-50 on top: below that lie scores whose factors leave the
 * normal numbers of f32.
 */
import { type KnownArithmetic, normalMin, u } from './arithmetic.js';
import { blockKeys, blockTokens } from './block-rows.js';
import { type Scratch, writeBlock } from './bound-scratch.js';
import type { HeadCache } from './cache.js';
import { exponentOf, f16Values, f64Array } from './format.js';
import { channelGroupTerms, dequantizedGroup, foldedGroup } from './key-groups.js';
import { channelGroup } from './scheme.js';
import { plainChainError, type Query, queryOf } from './score-bound.js';
import { alignedMagnitudes, keyShadow } from './shadow-rows.js';

/** Base-2 exponents, each (queries, tokens). */
export interface Scores {
  readonly exact: Float64Array;
  readonly shadow: Float64Array;
  readonly error: Float64Array;
}

const scaleError = 4 * u + 2 ** -44;
const bf16Floor = 2 ** -50;

/** Tokens [first, first + count), all packed or all in the tail. */
interface Block {
  readonly first: number;
  readonly count: number;
}

/**
 * From the exact scores of a block, (queries, blockTokens) in units of q.k, to those of the shadow
 * and their errors: scratch.exact to scratch.shadow and scratch.error.
 */
type ScoreBlock = (block: Block) => void;

/** What the scores of one KV head are made of. */
interface Head {
  readonly a: KnownArithmetic;
  readonly head: HeadCache;
  readonly queries: readonly Query[];
  readonly scratch: Scratch;
}

/** Parameters of one token group of K in float64. */
interface GroupParameters {
  readonly scales: Float64Array;
  readonly zeros: Float64Array;
  readonly scaleExponent: number;
}

function groupParameters(head: HeadCache, first: number): GroupParameters {
  const { headSize, k } = head;
  const from = Math.floor(first / head.scheme.group) * headSize;
  const values = (x: Uint16Array) => f64Array(x.subarray(from, from + headSize));
  const scales = values(k.scales);
  let max = 0;
  for (const scale of scales) max = Math.max(max, scale);
  return { scales, zeros: values(k.zeros), scaleExponent: Math.max(exponentOf(max), -24) };
}

/** K per channel: group by group of tokens, of which a record has a whole number. */
function perChannel({ a, head, queries, scratch }: Head, { first, count }: Block): void {
  const { group, bits } = head.scheme;
  const { math, shifts, shadowRows, exact, shadow, error } = scratch;
  const size = head.headSize;
  for (let from = 0; from < count; from += group) {
    const { scales, zeros, scaleExponent } = groupParameters(head, first + from);
    queries.forEach((query, h) => {
      const shift = shifts.subarray(h * size, (h + 1) * size);
      const terms =
        a.operands === 'folded'
          ? foldedGroup(a, query, scales, scaleExponent, zeros, bits, shift)
          : dequantizedGroup(a, query, scales, zeros, bits);
      const at = h * blockTokens + from;
      error.fill(terms.error + scaleError * terms.magnitude, at, at + group);
    });
    const x = a.operands === 'folded' ? shifts : scratch.q;
    const rows = shadowRows.subarray(from * size);
    math.dot(rows, group, size, x, shadow.subarray(from), blockTokens);
  }
  for (let i = 0; i < shadow.length; i++) shadow[i] += exact[i];
}

/** K per token, folded: group by group of channels; nothing is known to be shifted. */
function perToken({ a, head, queries, scratch }: Head, { first, count }: Block): void {
  const { headSize, k } = head;
  const { bits } = head.scheme;
  const group = channelGroup(head.scheme, headSize);
  const groups = headSize / group;
  const codeMax = 2 ** bits - 1;
  const rounding = scaleError + (5 + groups) * u;
  const { exact, shadow, error } = scratch;
  shadow.set(exact);
  error.fill(0);
  queries.forEach((query, h) => {
    for (let g = 0; g < groups; g++) {
      const terms = channelGroupTerms(a, query, g * group, (g + 1) * group, bits);
      const { codeError, zeroError, codeSum, zeroSum, lost } = terms;
      for (let t = 0; t < count; t++) {
        const at = (first + t) * groups + g;
        const scale = f16Values[k.scales[at]];
        const zero = Math.abs(f16Values[k.zeros[at]]);
        const magnitude = scale * codeSum + zero * zeroSum;
        error[h * blockTokens + t] +=
          scale * codeError +
          zero * zeroError +
          rounding * magnitude +
          lost * (zero + codeMax * scale);
      }
    }
  });
}

/** Plain products of q and keys: of the tail, or of a dequantising kernel with K per token. */
function plainScores({ a, head, scratch }: Head, { count }: Block): void {
  const { math, magnitudes, qMagnitudes, error } = scratch;
  const size = head.headSize;
  math.dot(magnitudes, count, size, qMagnitudes, error, blockTokens);
  for (let i = 0; i < error.length; i++) {
    error[i] = plainChainError(a, size, error[i]) + scaleError * error[i];
  }
}

/** Reads a block into scratch and says how its scores are bounded. */
function readKeys(own: Head, { first, count }: Block): ScoreBlock {
  const { a, head, scratch } = own;
  const { headSize, packed, type } = head;
  const part = (x: Float64Array) => x.subarray(0, count * headSize);
  blockKeys(head, first, count, scratch.room);
  const rows = part(scratch.room.rows);
  const [shadowRows, magnitudes] = [part(scratch.shadowRows), part(scratch.magnitudes)];
  if (first >= packed) {
    alignedMagnitudes(rows, magnitudes, normalMin(type));
    return (block) => {
      scratch.shadow.set(scratch.exact);
      plainScores(own, block);
    };
  }
  const isPerToken = head.scheme.kAxis === 'token';
  if (isPerToken && a.operands === 'folded') return (block) => perToken(own, block);
  keyShadow(a.operands, head, first, scratch.room, shadowRows);
  if (!isPerToken) return (block) => perChannel(own, block);
  for (let i = 0; i < rows.length; i++) magnitudes[i] = rows[i] + shadowRows[i];
  alignedMagnitudes(magnitudes, magnitudes, normalMin(type));
  return (block) => {
    const { math, q, exact, shadow } = scratch;
    math.dot(scratch.shadowRows, count, headSize, q, shadow, blockTokens);
    for (let i = 0; i < shadow.length; i++) shadow[i] += exact[i];
    plainScores(own, block);
  };
}

/** Room for the scores of any head of a call. */
export function scoreRoom(queries: number, tokensMax: number): Scores {
  const array = () => new Float64Array(queries * tokensMax);
  return { exact: array(), shadow: array(), error: array() };
}

/** q (queries, headSize); factor: c; room: where the scores lie until the next head. */
export function scoreHead(
  a: KnownArithmetic,
  head: HeadCache,
  factor: number,
  q: Float64Array,
  scratch: Scratch,
  room: Scores,
): Scores {
  const { headSize, tokens, type } = head;
  scratch.q.set(q);
  alignedMagnitudes(scratch.q, scratch.qMagnitudes, normalMin(type));
  const queries = Array.from({ length: q.length / headSize }, (_, h) => {
    const own = (x: Float64Array) => x.slice(h * headSize, (h + 1) * headSize);
    return queryOf(own(scratch.q), type, own(scratch.qMagnitudes));
  });
  const length = queries.length * tokens;
  const scores: Scores = {
    exact: room.exact.subarray(0, length),
    shadow: room.shadow.subarray(0, length),
    error: room.error.subarray(0, length),
  };
  const { math, exact, shadow, error } = scratch;
  const own: Head = { a, head, queries, scratch };
  for (let first = 0; first < tokens; ) {
    const count = Math.min(blockTokens, tokens - first); // packed tokens fill whole blocks
    const block = { first, count };
    const score = readKeys(own, block);
    math.dot(scratch.room.rows, count, headSize, scratch.q, exact, blockTokens);
    score(block);
    writeBlock(exact, scores.exact, tokens, first, count);
    writeBlock(shadow, scores.shadow, tokens, first, count);
    writeBlock(error, scores.error, tokens, first, count);
    first += count;
  }
  const floor = type === 'bf16' ? bf16Floor : 0;
  const magnitude = Math.abs(factor);
  for (let i = 0; i < length; i++) {
    scores.exact[i] *= factor;
    scores.shadow[i] *= factor;
    scores.error[i] = scores.error[i] * magnitude + floor;
  }
  return scores;
}
