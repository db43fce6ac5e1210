// Oracle power: would the comparison that judges a kernel notice three standard wrong answers here?
//
//   zero       every output 0
//   swapped    two neighbouring query heads exchanged, where their right answers differ
//   last       attention without the last token, in the rows whose planted key is the last one
//
// Each wrong answer is the right one, rounded to fp16, with one row spoiled, and that row alone
// must make the comparison reject. A bound that lets one of them pass at some shape proves nothing
// there, and a verdict that rests on it is worthless, so the caller fails.

import { attend } from '../reference/attention.js';
import { headPrefix, oneQueryToken } from '../reference/cache.js';
import { elementFromF64 } from '../reference/format.js';
import type { Problem } from '../reference/problem.js';
import { outputRatio } from './acceptance.js';
import type { Case } from './case.js';
import type { Observation } from './property.js';
import { describeRow, type RowPlace, rowPlaces } from './rows.js';

/** One sentence that names the wrong answer which would pass, or null. */
export function weakness(c: Case, observed: Observation, positions: Int32Array): string | null {
  const { problem } = c;
  const places = rowPlaces(problem);
  const { type } = observed.bound;
  const withoutLast = attendWithoutLast(c, observed);
  for (const [row, { visible: tokens }] of places.entries()) {
    if (tokens === 0) continue;
    const place = describeRow(problem, row);
    if (!rejects(problem, observed, row, () => 0)) return `the zero output (${place})`;
    const from = row * problem.headSize;
    const last = (channel: number) => elementFromF64(type, withoutLast[from + channel]);
    if (positions[row] === tokens - 1 && !rejects(problem, observed, row, last)) {
      return `attention without the last token (${place})`;
    }
    const neighbour = otherRow(problem, places, positions, row);
    if (neighbour === null) continue;
    const other = (channel: number) =>
      elementFromF64(type, observed.bound.output[neighbour * problem.headSize + channel]);
    if (!rejects(problem, observed, row, other)) return `the next head's output (${place})`;
  }
  return null;
}

/** The next query head of the request if it reads another key, else null. */
function otherRow(
  { queryHeads }: Problem,
  places: readonly RowPlace[],
  positions: Int32Array,
  row: number,
): number | null {
  const head = row % queryHeads;
  if (queryHeads < 2) return null;
  const next = row - head + ((head + 1) % queryHeads);
  const isOther = places[next].stored !== places[row].stored || positions[next] !== positions[row];
  return isOther ? next : null;
}

/** Whether some element of the row is rejected when the row holds these fp16 bits. */
function rejects(
  { headSize }: Problem,
  { bound }: Observation,
  row: number,
  bits: (channel: number) => number,
): boolean {
  for (let channel = 0; channel < headSize; channel++) {
    if (!(outputRatio(bound, row * headSize + channel, bits(channel), row) <= 1)) return true;
  }
  return false;
}

/** Attention of every query token without its own token, shaped as the output. */
function attendWithoutLast(c: Case, { inputs, heads }: Observation): Float64Array {
  const flat = oneQueryToken(c.problem, heads);
  const shorter = flat.heads.map((head) => headPrefix(head, Math.max(head.tokens - 1, 0)));
  const tokens = flat.problem.tokens.map((n) => Math.max(n - 1, 0));
  const problem = { ...flat.problem, tokens };
  return attend(problem, c.options.softmaxScale, inputs.q, shorter).output;
}
