/**
 * First pass of the bound: exact scores, shadow scores and score errors of all tokens and queries
 * of one KV head, as base-2 exponents t = c q.k with c = softmaxScale log2 e.
 *
 * error_j = |c| (terms of score-bound.ts + 4 u magnitude_j). The 4 u: the rounded c (1.22 u: log2 e
 * to f32 and the product), the products with it, their sum; a kernel that multiplies by the scale
 * and by log2 e one after the other needs one more. 2^-44 pays this file's own float64 sums.
 */
import { type KnownArithmetic, u } from './arithmetic.js';
import { dotRows } from './attention.js';
import { type HeadCache, keyRows } from './cache.js';
import { exponentOf, f64Array } from './format.js';
import {
  dequantizedGroup,
  foldedGroup,
  type GroupTerms,
  plainChainError,
  rowExponent,
} from './score-bound.js';
import { alignedMagnitudes, keyShadow, type Scratch } from './shadow-rows.js';

/** Base-2 exponents, each (queries, tokens). */
export interface Scores {
  readonly exact: Float64Array;
  readonly shadow: Float64Array;
  readonly error: Float64Array;
}

const scaleError = 4 * u + 2 ** -44;

/** One query head against the cache of its KV head. */
interface Query {
  /** (headSize) */
  readonly q: Float64Array;
  readonly magnitudes: Float64Array;
  readonly exponent: number;
}

function queryOf(q: Float64Array): Query {
  const magnitudes = new Float64Array(q.length);
  alignedMagnitudes(q, magnitudes);
  return { q, magnitudes, exponent: rowExponent(q) };
}

/** Parameters of one token group of K in float64. */
interface GroupParameters {
  readonly scales: Float64Array;
  readonly zeros: Float64Array;
  readonly scaleExponent: number;
}

function groupParameters(head: HeadCache, first: number): GroupParameters {
  const { headSize, k } = head;
  const from = (first / head.scheme.group) * headSize;
  const values = (x: Uint16Array) => f64Array(x.subarray(from, from + headSize));
  const scales = values(k.scales);
  let max = 0;
  for (const scale of scales) max = Math.max(max, scale);
  return { scales, zeros: values(k.zeros), scaleExponent: Math.max(exponentOf(max), -24) };
}

/**
 * Adds the shadow's shift to shadow (count) and sets error (count), in units of q.k, for the
 * tokens of one group; rows: keyShadow of them, (count, headSize).
 */
function groupScores(
  a: KnownArithmetic,
  query: Query,
  group: GroupParameters,
  bits: number,
  rows: Float64Array,
  shadow: Float64Array,
  error: Float64Array,
): void {
  const { q, exponent } = query;
  const { scales, zeros, scaleExponent } = group;
  const count = shadow.length;
  const moved = new Float64Array(count);
  const weights = new Float64Array(q.length);
  let terms: GroupTerms;
  if (a.operands === 'folded') {
    terms = foldedGroup(a, q, exponent, scales, scaleExponent, zeros, bits, weights);
  } else {
    terms = dequantizedGroup(a, q, scales, zeros, bits);
    weights.set(q);
  }
  dotRows(rows, weights, moved, count, q.length);
  for (let t = 0; t < count; t++) {
    shadow[t] += moved[t];
    error[t] = terms.error + scaleError * terms.magnitude;
  }
}

/** Errors of tokens of the fp16 tail: plain products of q and k. magnitudes (count, headSize). */
function tailErrors(
  a: KnownArithmetic,
  query: Query,
  magnitudes: Float64Array,
  error: Float64Array,
): void {
  const size = query.q.length;
  dotRows(magnitudes, query.magnitudes, error, error.length, size);
  for (let t = 0; t < error.length; t++) {
    error[t] = plainChainError(a, size, error[t]) + scaleError * error[t];
  }
}

/** q (queries, headSize); factor: c. */
export function scoreHead(
  a: KnownArithmetic,
  head: HeadCache,
  factor: number,
  q: Float64Array,
  scratch: Scratch,
): Scores {
  const { headSize, tokens, packed } = head;
  const { group, bits } = head.scheme;
  const queries = Array.from({ length: q.length / headSize }, (_, h) =>
    queryOf(q.subarray(h * headSize, (h + 1) * headSize)),
  );
  const length = queries.length * tokens;
  const scores: Scores = {
    exact: new Float64Array(length),
    shadow: new Float64Array(length),
    error: new Float64Array(length),
  };
  for (let first = 0; first < tokens; first += 128) {
    const count = Math.min(128, tokens - first);
    const rows = keyRows(head, first, count, scratch.rows).subarray(0, count * headSize);
    const shadowRows = scratch.shadowRows.subarray(0, count * headSize);
    if (first < packed) keyShadow(a.operands, head, first, rows, shadowRows);
    else alignedMagnitudes(rows, shadowRows);
    const parameters: GroupParameters[] = [];
    for (let t = 0; t < count && first < packed; t += group) {
      parameters.push(groupParameters(head, first + t));
    }
    queries.forEach((query, h) => {
      const at = h * tokens + first;
      const [exact, shadow, error] = [scores.exact, scores.shadow, scores.error].map((x) =>
        x.subarray(at, at + count),
      );
      dotRows(rows, query.q, exact, count, headSize);
      shadow.set(exact);
      if (first >= packed) tailErrors(a, query, shadowRows, error);
      parameters.forEach((p, i) => {
        const [from, to] = [i * group, (i + 1) * group];
        const part = shadowRows.subarray(from * headSize, to * headSize);
        groupScores(a, query, p, bits, part, shadow.subarray(from, to), error.subarray(from, to));
      });
    });
  }
  for (let i = 0; i < length; i++) {
    scores.exact[i] *= factor;
    scores.shadow[i] *= factor;
    scores.error[i] *= Math.abs(factor);
  }
  return scores;
}
