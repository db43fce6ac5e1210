/**
 * Problem: the shape of one decode-attention call, and nothing about values or formats.
 *
 * Each request r owns tokens[r] cached tokens (0 is allowed) and queryTokens new query tokens,
 * which are the last of its tokens: query token i of n sits at position tokens[r] - n + i and sees
 * tokens 0 .. tokens[r] - n + i, nothing if that is negative. The queryHeads query heads are shared
 * out evenly over the kvHeads KV heads (grouped-query attention): query head h reads KV head
 * floor(h / (queryHeads / kvHeads)).
 *
 * Arrays over requests of different lengths are concatenated, never padded:
 *   q (requests, queryTokens, queryHeads, headSize)    k, v (sum of tokens, kvHeads, headSize)
 * all of 16-bit words of one type. Masks and soft caps are not part of the project's first formats.
 */
import type { ElementType } from './format.js';

export interface Problem {
  /** KV length of each request, (requests) */
  readonly tokens: readonly number[];
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  /** query tokens of each request; 1 unless given */
  readonly queryTokens?: number;
  /** type of q, k, v, of what a cache keeps unquantised and of the output; fp16 unless given */
  readonly type?: ElementType;
}

/** Query tokens of a request are new ones of one step: speculative decoding has a handful. */
export const queryTokensMax = 8;

/** Counts above this are refused: 2^31 - 1 tokens overflow every 32-bit index we know of. */
const countMax = 2 ** 31 - 1;

function countError(name: string, value: number, min: number, max = countMax): string | null {
  if (Number.isInteger(value) && value >= min && value <= max) return null;
  return `${name}: ${value} is not an integer from ${min} to ${max}`;
}

/** What is wrong with a problem, in one sentence, or null. */
export function problemError(p: Problem): string | null {
  if (!Array.isArray(p.tokens)) return 'problem.tokens: not an array of lengths';
  if (p.tokens.length === 0) return 'problem.tokens: empty, at least one request is required';
  for (let r = 0; r < p.tokens.length; r++) {
    const error = countError(`problem.tokens[${r}]`, p.tokens[r], 0);
    if (error) return error;
  }
  const counts =
    countError('problem.queryHeads', p.queryHeads, 1) ??
    countError('problem.kvHeads', p.kvHeads, 1) ??
    countError('problem.headSize', p.headSize, 1) ??
    countError('problem.queryTokens', queryTokenCount(p), 1, queryTokensMax);
  if (counts) return counts;
  const type: string = elementType(p);
  if (type !== 'fp16' && type !== 'bf16') {
    return `problem.type: ${JSON.stringify(type)} is not "fp16" or "bf16"`;
  }
  if (p.queryHeads % p.kvHeads !== 0) {
    return `problem.queryHeads: ${p.queryHeads} is not a multiple of problem.kvHeads ${p.kvHeads}`;
  }
  return null;
}

/** Query tokens of every request. */
export function queryTokenCount(p: Problem): number {
  return p.queryTokens ?? 1;
}

export function elementType(p: Problem): ElementType {
  return p.type ?? 'fp16';
}

/** Rows of the output: (requests, queryTokens, queryHeads). */
export function queryRowCount(p: Problem): number {
  return p.tokens.length * queryTokenCount(p) * p.queryHeads;
}

/** Tokens that each query token sees, (requests, queryTokens). */
export function visibleTokens(p: Problem): number[] {
  const n = queryTokenCount(p);
  return p.tokens.flatMap((tokens) =>
    Array.from({ length: n }, (_, i) => Math.max(0, tokens - n + i + 1)),
  );
}

/**
 * Exclusive prefix sums of the lengths, (requests + 1): where a request's tokens start in k and v.
 */
export function firstTokens(p: Problem): number[] {
  const first = [0];
  for (const tokens of p.tokens) first.push(first[first.length - 1] + tokens);
  return first;
}

/** Query heads that share one KV head. */
export function queriesPerKvHead(p: Problem): number {
  return p.queryHeads / p.kvHeads;
}

/**
 * Copies one KV head of one request out of k or v.
 * x (sum of tokens, kvHeads, headSize) -> (count, headSize), tokens [first, first + count) of all.
 */
export function headRows(
  p: Problem,
  x: Uint16Array,
  kvHead: number,
  first: number,
  count: number,
): Uint16Array {
  const { kvHeads, headSize } = p;
  const rows = new Uint16Array(count * headSize);
  for (let t = 0; t < count; t++) {
    const from = ((first + t) * kvHeads + kvHead) * headSize;
    rows.set(x.subarray(from, from + headSize), t * headSize);
  }
  return rows;
}
