// case-deadline.ts - how long a case may take: `--deadline` for one within the budget of the
// generators, and in proportion for a dearer one, up to the dearest that they draw. Sixty seconds
// are plenty for a case of some tens of milliseconds a run, and none too many for one with a
// request of 65,536 tokens, which takes seconds a run where every access is checked.

import { LONG_BUDGETS } from '../../properties/arbitrary/rare.js';
import { type Case, defaultSpace, multiplyAdds } from '../../properties/index.js';

export function caseDeadlineMs(c: Case, deadlineMs: number): number {
  const budgets = multiplyAdds(c.problem) / defaultSpace.multiplyAddsMax;
  return deadlineMs * Math.min(LONG_BUDGETS, Math.max(1, budgets));
}
