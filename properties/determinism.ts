// determinism: a second run gives the same bits, although buffers held another poison before it and
// warps ran in another order.
//
// Two causes are told apart by nothing but the case: an order-dependent reduction or race, and a value
// that depends on memory which the kernel never wrote (the padding of a window, its workspace).

import { definedRegions } from './defined-bytes.js';
import type { Judgement, Property, Verdict } from './property.js';

export const determinism: Property = {
  name: 'determinism',
  statement:
    'A second run with another poison and another schedule gives the same bits in every byte that ' +
    'must be defined.',
  blind:
    'Whatever is wrong in the same way twice; on a real device, orders that did not happen to occur.',

  judge(judgement: Judgement): Verdict {
    if (!judgement.kernel.capabilities.deterministic) {
      return { kind: 'unsupported', reason: 'the kernel does not declare equal bits on every run' };
    }
    const base = judgement.base();
    if (base.kind === 'failed') return base.verdict;
    const again = judgement.again();
    if (again.kind === 'failed') return again.verdict;
    const { problem } = judgement.case;
    const others = definedRegions(problem, again.value);
    let elements = 0;
    for (const [i, { buffer, offset, bytes }] of definedRegions(problem, base.value).entries()) {
      const other = others[i].bytes;
      const at = bytes.findIndex((byte, place) => byte !== other[place]);
      if (at !== -1) {
        const found = `${other[at]} in the second run at byte ${offset + at}`;
        return {
          kind: 'fail',
          signature: `determinism/${buffer}`,
          message: `${buffer}: found ${found}, required ${bytes[at]} as in the first`,
        };
      }
      elements += bytes.length;
    }
    return { kind: 'pass', elements, ratio: 0 };
  },
};
