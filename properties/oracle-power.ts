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
import { f16FromF64 } from '../reference/format.js';
import { type Problem, queriesPerKvHead } from '../reference/problem.js';
import { outputRatio } from './acceptance.js';
import type { Case } from './case.js';
import type { Observation } from './property.js';

/** One sentence that names the wrong answer which would pass, or null. */
export function weakness(c: Case, observed: Observation, positions: Int32Array): string | null {
  const { problem } = c;
  const rows = problem.tokens.length * problem.queryHeads;
  const withoutLast = attendWithoutLast(c, observed);
  for (let row = 0; row < rows; row++) {
    const request = Math.floor(row / problem.queryHeads);
    const tokens = problem.tokens[request];
    if (tokens === 0) continue;
    const place = `request ${request}, query head ${row % problem.queryHeads}`;
    if (!rejects(problem, observed, row, () => 0)) return `the zero output (${place})`;
    const from = row * problem.headSize;
    const last = (channel: number) => f16FromF64(withoutLast[from + channel]);
    if (positions[row] === tokens - 1 && !rejects(problem, observed, row, last)) {
      return `attention without the last token (${place})`;
    }
    const neighbour = otherRow(problem, positions, row);
    if (neighbour === null) continue;
    const other = (channel: number) =>
      f16FromF64(observed.bound.output[neighbour * problem.headSize + channel]);
    if (!rejects(problem, observed, row, other)) return `the next head's output (${place})`;
  }
  return null;
}

/** The next query head of the request if it reads another key, else null. */
function otherRow(problem: Problem, positions: Int32Array, row: number): number | null {
  const { queryHeads } = problem;
  const head = row % queryHeads;
  if (queryHeads < 2) return null;
  const next = row - head + ((head + 1) % queryHeads);
  const ratio = queriesPerKvHead(problem);
  const kvHead = (h: number) => Math.floor((h % queryHeads) / ratio);
  return kvHead(next) !== kvHead(row) || positions[next] !== positions[row] ? next : null;
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

/** (requests, queryHeads, headSize) */
function attendWithoutLast(c: Case, { inputs, heads }: Observation): Float64Array {
  const shorter = heads.map((head) => ({ ...head, tokens: Math.max(head.tokens - 1, 0) }));
  const tokens = c.problem.tokens.map((n) => Math.max(n - 1, 0));
  const problem = { ...c.problem, tokens };
  return attend(problem, c.options.softmaxScale, inputs.q, shorter).output;
}
