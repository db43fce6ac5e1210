// error-bound: every element of output and lse lies within the proven bound of reference/bound.ts
// (L1), and, where the kernel declares the order of its sums, in the range that its own arithmetic
// leaves open (L2, reference/bound-l2.ts): about one value of fp16 or two.
//
// The reference attends over the kernel's own cache, read back by the independent layout, so that
// the error of quantisation (1e-2) does not hide an error of attention (1e-3). Nothing is
// hand-picked: both follow from the arithmetic that the kernel declares.

import { boundL2 } from '../reference/bound-l2.js';
import { accept, acceptRange, verdictOf } from './acceptance.js';
import type { Judgement, Property, Verdict } from './property.js';

export const errorBound: Property = {
  name: 'error-bound',
  statement:
    'Every element of output and lse is within the proven error bound of float64 attention over ' +
    "the kernel's own cache, and where a schedule is declared within what that leaves open.",
  blind:
    'Errors of the cache itself (exact-codes), and errors below the bound: without a schedule ' +
    'one token among thousands of equal ones (needle), one swapped pair of similar rows.',

  judge(judgement: Judgement): Verdict {
    const reference = judgement.reference();
    if (reference.kind === 'failed') return reference.verdict;
    const { run, bound, heads, inputs } = reference.value;
    const { problem, options } = judgement.case;
    const within = accept(problem, bound, run.output, run.lse);
    const { arithmetic } = judgement.kernel.capabilities;
    const splits = run.splits ?? options.splits;
    if (within.kind === 'rejected' || arithmetic === null || splits === 0) {
      return verdictOf('error-bound', within);
    }
    const { softmaxScale } = options;
    const range = boundL2(problem, softmaxScale, inputs.q, heads, arithmetic, splits, bound);
    if (range === null) return verdictOf('error-bound', within);
    const scheduled = acceptRange(problem, bound, range, run.output, run.lse);
    return verdictOf('error-bound', scheduled.kind === 'accepted' ? within : scheduled);
  },
};
