// head-order: the number of a head means nothing. KV heads are rotated with the query heads that
// read them, and the query heads of each KV head among themselves.

import { queriesPerKvHead, queryTokenCount } from '../reference/problem.js';
import type { Case } from './case.js';
import { type Derived, judgeDerived, selectHeads } from './derived.js';
import { below, type Key } from './generator.js';
import type { Inputs } from './kernel.js';
import type { Judgement, Property, Verdict } from './property.js';

/** 1 .. count - 1, or 0 if there is nothing to rotate. */
const step = (key: Key, index: number, count: number) =>
  count < 2 ? 0 : 1 + below(key, index, count - 1);

function rotated(c: Case, inputs: Inputs, key: Key): Derived {
  const { tokens, queryHeads, kvHeads, headSize } = c.problem;
  const ratio = queriesPerKvHead(c.problem);
  const [kvStep, queryStep] = [step(key, 0, kvHeads), step(key, 1, ratio)];
  const kvOrder = Array.from({ length: kvHeads }, (_, head) => (head + kvStep) % kvHeads);
  const queryOrder = Array.from({ length: queryHeads }, (_, head) => {
    return kvOrder[Math.floor(head / ratio)] * ratio + (((head % ratio) + queryStep) % ratio);
  });
  const numbered = (order: readonly number[], outer: number) =>
    Int32Array.from({ length: outer * order.length }, (_, i) => {
      return i - (i % order.length) + order[i % order.length];
    });
  return {
    case: c,
    inputs: {
      q: selectHeads(inputs.q, queryHeads, headSize, queryOrder),
      k: selectHeads(inputs.k, kvHeads, headSize, kvOrder),
      v: selectHeads(inputs.v, kvHeads, headSize, kvOrder),
    },
    rows: numbered(queryOrder, tokens.length * queryTokenCount(c.problem)),
    heads: numbered(kvOrder, tokens.length),
  };
}

export const headOrder: Property = {
  name: 'head-order',
  statement:
    'When KV heads change places with their query heads, and query heads within a KV head, every ' +
    'result moves along: with the same bits where promised, else within its bound.',
  blind: 'Whatever is wrong for every head alike; cases with one query head.',
  oneIn: 4,

  judge(judgement: Judgement): Verdict {
    const { case: c, inputs } = judgement;
    if (c.problem.queryHeads === 1) {
      return { kind: 'unsupported', reason: 'the case has one query head' };
    }
    return judgeDerived('head-order', judgement, rotated(c, inputs, judgement.key('head-order')));
  },
};
