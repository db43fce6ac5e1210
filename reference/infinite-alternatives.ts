/**
 * Elements that float64 makes NaN because an infinite value has weight 0, where a kernel may give
 * it another weight: any but 0 makes the infinity of the value itself.
 *
 * A weight is 0 in float64 below 2^-1074, and counts in a kernel from 2^-126 on. So scores have to
 * be off by 948 in the exponent, 657 for the two tokens that are compared as natural logarithms
 * (E_j of row-weights.ts, and what is known to be lost in rounding q s, which the shadow has and
 * float64 has not): scores of which no bit is known.
 */
import { type HeadCache, valueRows } from './cache.js';

const blockTokens = 128;

/** From an error of this size on nothing is known about weights. */
export const scoresUnknown = 657 / 2;

/**
 * For one query row: alternative receives the infinity of each channel whose output is NaN, if all
 * its infinite values are the same and none is NaN. rows: room for 128 tokens; output, alternative
 * (headSize).
 */
export function infiniteAlternatives(
  head: HeadCache,
  rows: Float64Array,
  output: Float64Array,
  alternative: Float64Array,
): void {
  const { tokens, headSize } = head;
  const sums = new Float64Array(headSize); // an infinity, or NaN where two differ
  for (let first = 0; first < tokens; first += blockTokens) {
    const count = Math.min(blockTokens, tokens - first);
    valueRows(head, first, count, rows);
    for (let i = 0; i < count * headSize; i++) sums[i % headSize] += rows[i];
  }
  for (let d = 0; d < headSize; d++) {
    // With finite values the output would be finite: the sum is an infinity, or no number either.
    if (Number.isNaN(output[d])) alternative[d] = sums[d];
  }
}
