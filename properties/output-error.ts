// OutputError: how far the output of a kernel lies from the right one, in the numbers that other
// projects accept or reject by. `kvproof score --oracle` applies their rules to these numbers.
//
// The right output is that of the reference over its own cache, so that an error of quantisation
// itself counts for nothing and a kernel that quantises wrongly is seen: the kindest reading of
// rules that were written for another reference. NaN where the reference has NaN, and an equal
// infinity, are no error (equal_nan). Only the output is looked at: none of these projects looks at
// codes, memory or schedules in the tests whose rules these are.

import { type ElementType, elementValues } from '../reference/format.js';
import { elementType } from '../reference/problem.js';
import { type Case, caseHash } from './case.js';
import { halfAttention } from './half-attention.js';
import { FIRST_POISON } from './judgement.js';
import type { Inputs, Kernel } from './kernel.js';
import { ReferenceKernel } from './reference-kernel.js';

export interface OutputError {
  /** Hash of the case. */
  readonly case: string;
  /** false: the kernel crashed, hung or refused, which no test suite overlooks. */
  readonly ran: boolean;
  readonly elements: number;
  /** Largest |found - right| / (1 + |right|): what allclose with rtol = atol compares. */
  readonly relative: number;
  readonly absolute: number;
  readonly meanAbsolute: number;
  readonly meanSquare: number;
  /** Share of the elements with |found - right| <= 0.01 (1 + |right|). */
  readonly closeShare: number;
  /** Largest absolute error of an fp16 computation without a fused kernel. */
  readonly halfAbsolute: number;
}

export function failedRun(c: Case): OutputError {
  const infinite = Number.POSITIVE_INFINITY;
  return {
    ...{ case: caseHash(c), ran: false, elements: 0, relative: infinite, absolute: infinite },
    ...{ meanAbsolute: infinite, meanSquare: infinite, closeShare: 0, halfAbsolute: 0 },
  };
}

/** null: the kernel does not support the case. */
export function outputErrorOf(kernel: Kernel, c: Case, inputs: Inputs): OutputError | null {
  if (kernel.supports(c) !== null) return null;
  const ran = kernel.run(c, inputs, { poison: FIRST_POISON });
  const reference = new ReferenceKernel();
  if (reference.supports(c) !== null) return null;
  const right = reference.run(c, inputs, { poison: FIRST_POISON });
  const { kValues: k, vValues: v } = right;
  if (k === undefined || v === undefined)
    throw new Error('the reference gave no rows of its cache');
  if (ran.kind !== 'ran' || ran.output.length !== right.output.length) return failedRun(c);
  const { problem, options } = c;
  const half = halfAttention(problem, options.softmaxScale, { q: inputs.q, k, v });
  const error = compare(elementType(problem), ran.output, right.output, half);
  return { case: caseHash(c), ran: true, ...error };
}

function compare(
  type: ElementType,
  found: Uint16Array,
  right: Uint16Array,
  half: Float64Array,
): Omit<OutputError, 'case' | 'ran'> {
  const sums = { relative: 0, absolute: 0, meanAbsolute: 0, meanSquare: 0, halfAbsolute: 0 };
  const values = elementValues(type);
  let close = 0;
  for (let i = 0; i < right.length; i++) {
    const expected = values[right[i]];
    const error = difference(values[found[i]], expected);
    const relative = error / (1 + Math.abs(expected));
    // An infinite error on an infinite element is no quotient.
    const scaled = Number.isNaN(relative) ? error : relative;
    sums.relative = Math.max(sums.relative, scaled);
    sums.absolute = Math.max(sums.absolute, error);
    sums.meanAbsolute += error;
    sums.meanSquare += error * error;
    sums.halfAbsolute = Math.max(sums.halfAbsolute, difference(half[i], expected));
    if (scaled <= 0.01) close += 1;
  }
  const elements = right.length;
  const count = Math.max(elements, 1);
  return {
    ...sums,
    elements,
    meanAbsolute: sums.meanAbsolute / count,
    meanSquare: sums.meanSquare / count,
    closeShare: elements === 0 ? 1 : close / elements,
  };
}

/** |a - b|; 0 for the same infinity and for two NaN, Infinity for one NaN. */
function difference(a: number, b: number): number {
  if (Object.is(a, b) || a === b) return 0;
  const error = Math.abs(a - b);
  return Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
}
