// history: a run does not depend on what ran before it. Between two runs of the case a larger
// problem and a smaller one run, so that workspaces, counters and cached plans have seen something
// else.

import { selectRequests } from './derived.js';
import type { Judgement, Property, Verdict } from './property.js';
import { notDeterministic, sameBits } from './same-bits.js';

export const history: Property = {
  name: 'history',
  statement:
    'The same bits after a larger and a smaller problem have run on the same kernel as before.',
  blind: 'State that every run leaves behind alike; effects that need thousands of runs.',
  oneIn: 8,

  judge(judgement: Judgement): Verdict {
    if (!judgement.kernel.capabilities.deterministic) return notDeterministic;
    const { case: c, inputs } = judgement;
    const base = judgement.base();
    if (base.kind === 'failed') return base.verdict;
    const all = c.problem.tokens.map((_, request) => request);
    for (const order of [[...all, ...all], [0]]) {
      const other = selectRequests(c, inputs, order);
      const between = judgement.run(other.inputs, {}, other.case);
      // What the kernel declines to run cannot disturb it.
      if (between.kind === 'failed' && between.verdict.kind === 'fail') return between.verdict;
    }
    const last = judgement.run(inputs);
    if (last.kind === 'failed') return last.verdict;
    return sameBits('history', judgement, base.value, last.value, 'after other problems');
  },
};
