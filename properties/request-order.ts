// request-order: the position of a request in the batch means nothing. Requests are rotated, so
// that every one of them moves; an offset computed from the wrong index, a length taken from
// another request or state left behind by the one before moves the result.

import { judgeDerived, selectRequests } from './derived.js';
import { below } from './generator.js';
import type { Judgement, Property, Verdict } from './property.js';

export const requestOrder: Property = {
  name: 'request-order',
  statement:
    'When the requests of a batch change places, every result moves along: with the same bits ' +
    'where the kernel promises batch invariance and splits are pinned, else within its bound.',
  blind: 'Whatever is wrong at every position alike; batches of one request.',
  oneIn: 4,

  judge(judgement: Judgement): Verdict {
    const { case: c, inputs } = judgement;
    const requests = c.problem.tokens.length;
    if (requests < 2) return { kind: 'unsupported', reason: 'the case has one request' };
    const step = 1 + below(judgement.key('request-order'), 0, requests - 1);
    const order = c.problem.tokens.map((_, request) => (request + step) % requests);
    return judgeDerived('request-order', judgement, selectRequests(c, inputs, order));
  },
};
