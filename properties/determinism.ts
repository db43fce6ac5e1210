// determinism: a second run gives the same bits, although buffers held another poison before it and
// warps ran in another order.
//
// Two causes are told apart by nothing but the case: an order-dependent reduction or race, and a
// value that depends on memory which the kernel never wrote (the padding of a window, its
// workspace).

import type { Judgement, Property, Verdict } from './property.js';
import { notDeterministic, sameBits } from './same-bits.js';

export const determinism: Property = {
  name: 'determinism',
  statement:
    'A second run with another poison and another schedule gives the same bits in every byte ' +
    'that must be defined.',
  blind:
    'Whatever is wrong in the same way twice; on a real device, orders that did not happen to ' +
    'occur.',

  judge(judgement: Judgement): Verdict {
    if (!judgement.kernel.capabilities.deterministic) return notDeterministic;
    const base = judgement.base();
    if (base.kind === 'failed') return base.verdict;
    const again = judgement.again();
    if (again.kind === 'failed') return again.verdict;
    return sameBits('determinism', judgement, base.value, again.value, 'in the second run');
  },
};
