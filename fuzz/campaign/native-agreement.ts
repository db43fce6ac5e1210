// native-agreement.ts - does the reference in native code say what the reference says? Judged like
// a property, on every case of a sweep that is judged in full; what it finds is a fault of this
// project and not of the kernel.
//
// Tensors agree bit for bit; which rows have a bound, and whether codes and outputs are right,
// exactly; numbers of float64 within AGREEMENT. That is relative to the largest value of the row,
// because a sum over values that cancel has no more digits than that, and of an lse to 1, itself or
// its bound, which grows with the products of a score that cancel.

import { accept } from '../../properties/acceptance.js';
import type { Case } from '../../properties/case.js';
import { exactCodes } from '../../properties/exact-codes.js';
import { pageTable } from '../../properties/pages.js';
import type { Judgement, Property, Verdict } from '../../properties/property.js';
import { anyArithmetic } from '../../reference/arithmetic.js';
import { type BoundResult, boundL1 } from '../../reference/bound.js';
import { readCache } from '../../reference/cache.js';
import {
  type NativeReference,
  type NativeResults,
  observationOf,
  unjudgedCase,
} from '../kernels/native-reference.js';

export const NATIVE_REFERENCE = 'native-reference';

/** Of float64: 131,072 terms and scores of 1e4 leave 1e-13 of a row's magnitude. */
export const AGREEMENT = 1e-12;

const fail = (rule: string, message: string): Verdict => ({
  kind: 'fail',
  signature: `${NATIVE_REFERENCE}/${rule}`,
  message,
});

/** |a - b| in units of `scale`, 0 where both are the same infinity or no number. */
function apart(a: number, b: number, scale: number): number {
  return Object.is(a, b) || a === b ? 0 : Math.abs(a - b) / scale;
}

/** Where the bounds of two references are furthest apart, relative to what they are about. */
export function largestDifference(
  headSize: number,
  a: BoundResult,
  b: BoundResult,
): { what: string; at: number; difference: number } {
  let worst = { what: 'output', at: 0, difference: 0 };
  const note = (what: string, at: number, difference: number) => {
    if (!(difference <= worst.difference)) worst = { what, at, difference };
  };
  a.alternative.forEach((x, at) => {
    if (!Object.is(x, b.alternative[at])) note('alternative', at, Number.POSITIVE_INFINITY);
  });
  for (const [row, guarded] of a.guarded.entries()) {
    if (guarded !== b.guarded[row]) note('guarded', row, Number.POSITIVE_INFINITY);
    if (guarded !== 0) continue; // only the class of values is known
    const scale = Math.max(1, Math.abs(a.lse[row]), a.lseBound[row]);
    note('lse', row, apart(a.lse[row], b.lse[row], scale));
    note('lseBound', row, apart(a.lseBound[row], b.lseBound[row], scale));
    for (let at = row * headSize; at < (row + 1) * headSize; at++) {
      const own = Math.max(a.valueMax[row], a.outputBound[at]);
      note('output', at, apart(a.output[at], b.output[at], own));
      note('outputRadius', at, apart(a.outputRadius[at], b.outputRadius[at], own));
      note('outputBound', at, apart(a.outputBound[at], b.outputBound[at], own));
    }
  }
  return worst;
}

/** The reference over the same cache. */
function referenceOf({ kernel, inputs }: Judgement, c: Case, found: NativeResults): BoundResult {
  const { problem, scheme, options } = c;
  const { cache, kResidual, vResidual } = found;
  const heads = readCache(problem, scheme, cache, kResidual, vResidual, pageTable(c));
  const arithmetic = kernel.capabilities.arithmetic ?? anyArithmetic;
  return boundL1(problem, options.softmaxScale, inputs.q, heads, arithmetic);
}

type Judge = Pick<NativeReference, 'judge' | 'read'>;

function judge(judgement: Judgement, reference: Judge): Verdict {
  const { case: c, inputs } = judgement;
  const reason = unjudgedCase(c);
  if (reason !== null) return { kind: 'unsupported', reason };
  const batch = reference.judge([c]);
  if (batch.kind !== 'done') return fail(batch.kind, batch.message);
  const [counts] = batch.verdicts;
  if (counts.kind !== 'judged') return { kind: 'unsupported', reason: counts.text };
  const found = reference.read();
  for (const tensor of ['q', 'k', 'v'] as const) {
    const at = inputs[tensor].findIndex((word, i) => word !== found[tensor][i]);
    if (at === -1) continue;
    const words = `found the word ${found[tensor][at]}, required ${inputs[tensor][at]}`;
    return fail('tensor', `${tensor}[${at}]: ${words}`);
  }
  const required = referenceOf(judgement, c, found);
  const { run, bound } = observationOf(c, found);
  const { what, at, difference } = largestDifference(c.problem.headSize, required, bound);
  if (!(difference <= AGREEMENT)) {
    return fail(what, `${what}[${at}]: found a difference of ${difference}, at most ${AGREEMENT}`);
  }
  const isRight = accept(c.problem, required, run.output, run.lse).kind === 'accepted';
  const areCodes = exactCodes.judge(judgement).kind === 'pass';
  if (isRight !== (counts.rejected === 0) || areCodes !== (counts.wrongCodes === 0)) {
    const says = `${counts.rejected} outputs and ${counts.wrongCodes} codes are wrong`;
    return fail('verdict', `found that ${says}, required: ${isRight}, ${areCodes} (right)`);
  }
  return { kind: 'pass', elements: bound.output.length, ratio: difference / AGREEMENT };
}

export function nativeAgreement(reference: Judge): Property {
  return {
    name: NATIVE_REFERENCE,
    statement: 'The reference in native code says what the reference says, to 1e-12.',
    blind: 'Mistakes that both make.',
    judge: (judgement) => judge(judgement, reference),
  };
}
