// expanded-heads: grouped-query attention is multi-head attention with repeated KV heads. Every
// query head gets a copy of its KV head, so that the kernel takes the path of ratio 1.

import { queriesPerKvHead, queryRowCount } from '../reference/problem.js';
import type { Case } from './case.js';
import { type Derived, judgeDerived, selectHeads } from './derived.js';
import type { Inputs } from './kernel.js';
import type { Judgement, Property, Verdict } from './property.js';

function expanded(c: Case, inputs: Inputs): Derived {
  const { tokens, queryHeads, kvHeads, headSize } = c.problem;
  const ratio = queriesPerKvHead(c.problem);
  const order = Array.from({ length: queryHeads }, (_, head) => Math.floor(head / ratio));
  return {
    case: { ...c, problem: { ...c.problem, kvHeads: queryHeads } },
    inputs: {
      q: inputs.q,
      k: selectHeads(inputs.k, kvHeads, headSize, order),
      v: selectHeads(inputs.v, kvHeads, headSize, order),
    },
    rows: Int32Array.from({ length: queryRowCount(c.problem) }, (_, row) => row),
    heads: Int32Array.from(tokens.flatMap((_, r) => order.map((head) => r * kvHeads + head))),
  };
}

export const expandedHeads: Property = {
  name: 'expanded-heads',
  statement:
    'With a copy of its KV head for every query head, results stay: the same bits where the ' +
    'kernel promises that heads do not matter to each other, else within their bounds.',
  blind: 'Errors that do not depend on how many query heads share a KV head; ratio 1.',
  oneIn: 8,

  judge(judgement: Judgement): Verdict {
    const { case: c, inputs } = judgement;
    if (queriesPerKvHead(c.problem) === 1) {
      return { kind: 'unsupported', reason: 'every query head has a KV head of its own' };
    }
    return judgeDerived('expanded-heads', judgement, expanded(c, inputs));
  },
};
