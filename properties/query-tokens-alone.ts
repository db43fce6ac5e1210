// query-tokens-alone: a case with n query tokens is n cases with one each. Every query token
// becomes a request of its own that ends at its token, and gives what it gave among the others,
// within the bound that it had there.
//
// A request that ends earlier keeps in its window what a longer one has packed. Rows whose request
// would have fewer records are left out, so that both runs read the same codes.

import { firstTokens, queryTokenCount, visibleTokens } from '../reference/problem.js';
import { recordTokens } from '../reference/scheme.js';
import type { Case } from './case.js';
import { type Derived, judgeDerived } from './derived.js';
import type { Inputs } from './kernel.js';
import type { Judgement, Property, Verdict } from './property.js';
import { rowPlaces } from './rows.js';

const NAME = 'query-tokens-alone';

function alone(c: Case, inputs: Inputs): Derived {
  const { problem } = c;
  const { queryTokens: _n, ...rest } = problem;
  const n = queryTokenCount(problem);
  const size = problem.kvHeads * problem.headSize;
  const first = firstTokens(problem);
  const tokens = visibleTokens(problem);
  const own = firstTokens({ ...rest, tokens });
  const prefixes = (x: Uint16Array) => {
    const out = new Uint16Array(own[tokens.length] * size);
    for (const [i, visible] of tokens.entries()) {
      const from = first[Math.floor(i / n)] * size;
      out.set(x.subarray(from, from + visible * size), own[i] * size);
    }
    return out;
  };
  const records = (count: number) => Math.floor(count / recordTokens);
  const rows = rowPlaces(problem).map(({ request, visible }, row) => {
    return records(visible) === records(problem.tokens[request]) ? row : -1;
  });
  const { pages: _p, appended: _a, ...options } = c.options;
  return {
    case: { ...c, problem: { ...rest, tokens }, options },
    inputs: { q: inputs.q, k: prefixes(inputs.k), v: prefixes(inputs.v) },
    rows: Int32Array.from(rows),
    heads: new Int32Array(tokens.length * problem.kvHeads).fill(-1),
  };
}

export const queryTokensAlone: Property = {
  name: NAME,
  statement:
    'Each query token as a request of its own, which ends at it, gives a result within the bound ' +
    'that it has among the others.',
  blind: 'Query tokens before a record that later ones fill; errors below the bound.',
  oneIn: 4,

  judge(judgement: Judgement): Verdict {
    const { case: c, inputs } = judgement;
    if (queryTokenCount(c.problem) === 1) {
      return { kind: 'unsupported', reason: 'requests have one query token' };
    }
    return judgeDerived(NAME, judgement, alone(c, inputs), false);
  },
};
