// error-bound: every element of output and lse lies within the proven bound of reference/bound.ts.
//
// The reference attends over the kernel's own cache, read back by the independent layout, so that
// the error of quantisation (1e-2) does not hide an error of attention (1e-3). Nothing is
// hand-picked: the bound follows from the arithmetic that the kernel declares.

import { accept, verdictOf } from './acceptance.js';
import type { Judgement, Property, Verdict } from './property.js';

export const errorBound: Property = {
  name: 'error-bound',
  statement:
    'Every element of output and lse is within the proven error bound of float64 attention over ' +
    "the kernel's own cache.",
  blind:
    'Errors of the cache itself (exact-codes), and errors below the bound: one token among ' +
    'thousands of equal ones (needle), one swapped pair of similar rows.',

  judge(judgement: Judgement): Verdict {
    const reference = judgement.reference();
    if (reference.kind === 'failed') return reference.verdict;
    const { run, bound } = reference.value;
    return verdictOf('error-bound', accept(judgement.case.problem, bound, run.output, run.lse));
  },
};
