// request-alone: the result of a request does not depend on who else is in the batch. One request
// of the batch is run by itself, an empty one only if there is no other.

import { judgeDerived, selectRequests } from './derived.js';
import { below } from './generator.js';
import type { Judgement, Property, Verdict } from './property.js';

export const requestAlone: Property = {
  name: 'request-alone',
  statement:
    'A request run alone gives what it gives in the batch: the same bits where the kernel ' +
    'promises batch invariance and splits are pinned, else a result within the same bound.',
  blind: 'Errors that do not depend on the batch; the requests that were not chosen.',
  oneIn: 2,

  judge(judgement: Judgement): Verdict {
    const { case: c, inputs } = judgement;
    const { tokens } = c.problem;
    if (tokens.length < 2) return { kind: 'unsupported', reason: 'the case has one request' };
    const busy = tokens.map((_, request) => request).filter((request) => tokens[request] > 0);
    const choices = busy.length > 0 ? busy : [0];
    const chosen = choices[below(judgement.key('request-alone'), 0, choices.length)];
    return judgeDerived('request-alone', judgement, selectRequests(c, inputs, [chosen]));
  },
};
