// The one comparison of attention with its bound: every property that has an error bound uses it,
// so that what needle.ts proves about its power holds for all of them.
//
// An output is accepted if it lies between the roundings of reference - radius and reference +
// radius in its type (reference/bound.ts, admitsOutput), an lse if |value - reference| <= bound;
// both are written so that NaN fails. Rows without a valid bound (`guarded`: something infinite or
// NaN in q, K or V, or near the overflow of fp16) are compared by class: NaN, +Inf, -Inf, finite.
// An infinite output may also be NaN: a weight that float64 still sees may round to 0, in any f32
// or fp16 softmax, and 0 times an infinite value is NaN. What is never accepted there is a finite
// number or the other infinity. Where no score is known to a bit, any of the row's tokens may have
// the weight: one whose value an fp16 output cannot hold makes it infinite, and so does an infinite
// one whose weight is 0 in float64 (BoundResult.alternative).

import { admitsOutput, type BoundResult } from '../reference/bound.js';
import { inRange, type OutputRange } from '../reference/bound-l2.js';
import { elementRound, elementValues } from '../reference/format.js';
import { type Problem, queryRowCount } from '../reference/problem.js';
import type { Verdict, Worst } from './property.js';
import { rowIndex } from './rows.js';

export type Acceptance =
  | { readonly kind: 'accepted'; readonly elements: number; readonly ratio: number }
  | { readonly kind: 'rejected'; readonly tensor: 'output' | 'lse'; readonly worst: Worst };

/**
 * Just above 1: a rejected element whose error is below the bound that its ratio is measured in.
 */
const REJECTED = 1 + 2 ** -10;
/** From here on a row without a bound may be finite in the reference and Inf after its store. */
const NEAR_OVERFLOW = 2 ** 15;

/** Error in units of its bound: at most 1 if accepted, more if not, Infinity for NaN. */
function ratioOf(accepted: boolean, value: number, reference: number, bound: number): number {
  const ratio = value === reference ? 0 : Math.abs(value - reference) / bound;
  if (accepted) return Number.isNaN(ratio) ? 1 : Math.min(ratio, 1);
  return Number.isNaN(ratio) ? Number.POSITIVE_INFINITY : Math.max(ratio, REJECTED);
}

/** 0 where an element of a row without bound has the class of its reference, else Infinity. */
function classRatio(value: number, reference: number, mayOverflow = false): number {
  const isInfinite = Math.abs(value) === Number.POSITIVE_INFINITY;
  const overflowed =
    isInfinite &&
    (mayOverflow ||
      (Math.abs(reference) >= NEAR_OVERFLOW && Math.sign(value) === Math.sign(reference)));
  const same = Number.isFinite(reference)
    ? Number.isFinite(value) || overflowed
    : Object.is(value, reference);
  return same ? 0 : Number.POSITIVE_INFINITY;
}

/** Of output element i, stored as this word. */
export function outputRatio(expected: BoundResult, i: number, bits: number, row: number): number {
  const value = elementValues(expected.type)[bits];
  if (expected.guarded[row] === 1) {
    const infinite = Math.abs(expected.output[i]) === Number.POSITIVE_INFINITY;
    const largest = expected.valueMax[row];
    const mayOverflow =
      expected.type === 'fp16' && largest >= NEAR_OVERFLOW && largest < Number.POSITIVE_INFINITY;
    if ((infinite && Number.isNaN(value)) || value === expected.alternative[i]) return 0;
    return classRatio(value, expected.output[i], mayOverflow);
  }
  const accepted = admitsOutput(expected, i, value);
  return ratioOf(accepted, value, expected.output[i], expected.outputBound[i]);
}

/** Of the lse of a row. Equal infinities are equal: a request without tokens has -Infinity. */
function lseRatio(expected: BoundResult, row: number, value: number): number {
  if (expected.guarded[row] === 1) return classRatio(value, expected.lse[row]);
  const [reference, bound] = [expected.lse[row], expected.lseBound[row]];
  const accepted = value === reference || Math.abs(value - reference) <= bound;
  return ratioOf(accepted, value, reference, bound);
}

/** The place and the size of the largest ratio. */
function largest(count: number, ratio: (i: number) => number): { at: number; ratio: number } {
  let worst = { at: 0, ratio: 0 };
  for (let i = 0; i < count; i++) {
    const r = ratio(i);
    if (!(r <= worst.ratio)) worst = { at: i, ratio: r };
  }
  return worst;
}

/**
 * output (requests, queryTokens, queryHeads, headSize) as words and lse (requests, queryTokens,
 * queryHeads), or empty for a kernel that gives none, judged in full or in the rows that are
 * `included`: the worst element is reported, not the first.
 */
export function accept(
  problem: Problem,
  expected: BoundResult,
  output: Uint16Array,
  lse: Float32Array,
  included: (row: number) => boolean = () => true,
): Acceptance {
  const { headSize } = problem;
  const o = largest(output.length, (i) => {
    const row = Math.floor(i / headSize);
    return included(row) ? outputRatio(expected, i, output[i], row) : 0;
  });
  if (!(o.ratio <= 1)) {
    const row = Math.floor(o.at / headSize);
    const worst: Worst = {
      tensor: 'output',
      index: [...rowIndex(problem, row), o.at % headSize],
      value: elementValues(expected.type)[output[o.at]],
      reference: expected.output[o.at],
      bound: expected.outputBound[o.at],
      ratio: o.ratio,
    };
    return { kind: 'rejected', tensor: 'output', worst };
  }
  const l = largest(lse.length, (row) => (included(row) ? lseRatio(expected, row, lse[row]) : 0));
  if (!(l.ratio <= 1)) {
    const worst: Worst = {
      tensor: 'lse',
      index: rowIndex(problem, l.at),
      value: lse[l.at],
      reference: expected.lse[l.at],
      bound: expected.lseBound[l.at],
      ratio: l.ratio,
    };
    return { kind: 'rejected', tensor: 'lse', worst };
  }
  let rows = 0;
  for (let row = 0; row < queryRowCount(problem); row++) rows += included(row) ? 1 : 0;
  const elements = rows * (lse.length === 0 ? headSize : headSize + 1);
  return { kind: 'accepted', elements, ratio: Math.max(o.ratio, l.ratio) };
}

/** Distance to the far end of a range, in which what lies outside of it is at least 1. */
function rangeRatio(value: number, reference: number, low: number, high: number): number {
  const reach = Math.max(Math.abs(low - reference), Math.abs(high - reference));
  return ratioOf(false, value, reference, reach);
}

/**
 * The same for the range of a kernel that declares its schedule. Guarded rows, which have none, are
 * judged by their bound alone.
 */
export function acceptRange(
  problem: Problem,
  { output: exact, lse: exactLse, guarded }: BoundResult,
  range: OutputRange,
  output: Uint16Array,
  lse: Float32Array,
): Acceptance {
  const { headSize } = problem;
  const values = elementValues(range.type);
  const ends = (i: number) =>
    [range.low[i], range.high[i]].map((x) => elementRound(range.type, x)) as [number, number];
  const o = largest(output.length, (i) => {
    const value = values[output[i]];
    if (guarded[Math.floor(i / headSize)] !== 0 || inRange(range, i, value)) return 0;
    return rangeRatio(value, exact[i], ...ends(i));
  });
  const l = largest(lse.length, (row) => {
    const [low, high] = [range.lseLow[row], range.lseHigh[row]];
    if (guarded[row] !== 0 || (lse[row] >= low && lse[row] <= high)) return 0;
    return rangeRatio(lse[row], exactLse[row], low, high);
  });
  const rejected = (tensor: 'output' | 'lse', index: number[], found: number[]): Acceptance => {
    const [value, reference, ratio] = found;
    const bound = Math.abs(value - reference) / ratio;
    return { kind: 'rejected', tensor, worst: { tensor, index, value, reference, bound, ratio } };
  };
  if (o.ratio > 0) {
    const index = [...rowIndex(problem, Math.floor(o.at / headSize)), o.at % headSize];
    return rejected('output', index, [values[output[o.at]], exact[o.at], o.ratio]);
  }
  if (l.ratio > 0) {
    return rejected('lse', [...rowIndex(problem, l.at)], [lse[l.at], exactLse[l.at], l.ratio]);
  }
  return { kind: 'accepted', elements: output.length + lse.length, ratio: 0 };
}

/** One sentence about a rejected element. */
export function describeWorst({ tensor, index, value, reference, bound }: Worst): string {
  const place = `${tensor}[${index.join(', ')}]`;
  // A row without a bound has NaN here: only the class of its values was compared.
  const required = Number.isNaN(bound)
    ? `the class of ${reference}`
    : `${reference} within ${bound}`;
  return `${place}: found ${value}, required ${required}`;
}

/** The verdict of a property whose comparison this was. */
export function verdictOf(property: string, acceptance: Acceptance): Verdict {
  if (acceptance.kind === 'accepted') {
    return { kind: 'pass', elements: acceptance.elements, ratio: acceptance.ratio };
  }
  const { tensor, worst } = acceptance;
  return {
    kind: 'fail',
    signature: `${property}/${tensor}`,
    message: describeWorst(worst),
    worst,
  };
}
