// later-tokens: query tokens are causal. When the keys and values of later query tokens change, the
// rows of earlier ones keep their bits. The new keys point along the earlier queries with a large
// amplitude, so that one that is seen takes all of the weight; or keys and values are NaN, which a
// weight of 0 does not stop.
//
// Tokens that share quantisation parameters with others cannot change alone: along channels only
// those in the window do. V has parameters per token in nearly all formats, also where K has not.

import { elementFromF64, elementValues } from '../reference/format.js';
import { specOf } from '../reference/formats/case-scheme.js';
import {
  elementType,
  firstTokens,
  queriesPerKvHead,
  queryTokenCount,
} from '../reference/problem.js';
import { recordTokens } from '../reference/scheme.js';
import type { Case } from './case.js';
import { type Derived, judgeDerived } from './derived.js';
import { below, type Key } from './generator.js';
import type { Inputs } from './kernel.js';
import { unshared } from './pages.js';
import type { Judgement, Property, Verdict } from './property.js';
import { rowOf, rowPlaces } from './rows.js';
import { notDeterministic } from './same-bits.js';

const NAME = 'later-tokens';
/** Of the new keys and values, times the sign of a query's element. */
const AMPLITUDES = [96, Number.NaN];

/** From which token on keys or values of a request of so many can change alone. */
function firstAlone({ scheme }: Case, tensor: 'k' | 'v', tokens: number): number {
  const ownAxis = tensor === 'k' ? scheme.kAxis : specOf(scheme)?.axisOf.v;
  const isAlone = scheme.format === 'fp16' || ownAxis !== 'channel';
  return isAlone ? 0 : tokens - (tokens % recordTokens);
}

function changed(c: Case, inputs: Inputs, key: Key): Derived {
  const { problem } = c;
  const { kvHeads, headSize } = problem;
  const n = queryTokenCount(problem);
  const later = 1 + below(key, 0, n - 1);
  const amplitude = AMPLITUDES[below(key, 1, AMPLITUDES.length)];
  const type = elementType(problem);
  const values = elementValues(type);
  const first = firstTokens(problem);
  const ratio = queriesPerKvHead(problem);
  const counts = problem.tokens.map((tokens) => Math.min(later, tokens)); // of changed tokens
  const [k, v] = [inputs.k.slice(), inputs.v.slice()];
  for (const [request, count] of counts.entries()) {
    const [ownKey, ownValue] = (['k', 'v'] as const).map((tensor) => {
      return first[request] + firstAlone(c, tensor, problem.tokens[request]);
    });
    for (let token = first[request + 1] - count; token < first[request + 1]; token++) {
      for (let head = 0; head < kvHeads; head++) {
        const query = rowOf(problem, request, 0, head * ratio) * headSize;
        const at = (token * kvHeads + head) * headSize;
        for (let d = 0; d < headSize; d++) {
          const sign = values[inputs.q[query + d]] * c.options.softmaxScale < 0 ? -1 : 1;
          if (token >= ownKey) k[at + d] = elementFromF64(type, sign * amplitude);
          if (token >= ownValue) v[at + d] = elementFromF64(type, ((d % 7) - 3) * amplitude);
        }
      }
    }
  }
  const rows = rowPlaces(problem).map(({ request, visible }, row) => {
    return visible <= problem.tokens[request] - counts[request] ? row : -1;
  });
  return {
    case: unshared(c),
    inputs: { q: inputs.q, k, v },
    rows: Int32Array.from(rows),
    heads: new Int32Array(problem.tokens.length * kvHeads).fill(-1),
  };
}

export const laterTokens: Property = {
  name: NAME,
  statement:
    'When keys and values of later query tokens change, the rows of earlier query tokens keep ' +
    'their bits.',
  blind: 'Keys and values of later tokens that share their parameters with earlier ones.',
  oneIn: 2,

  judge(judgement: Judgement): Verdict {
    const { case: c, inputs, kernel } = judgement;
    if (queryTokenCount(c.problem) === 1) {
      return { kind: 'unsupported', reason: 'requests have one query token' };
    }
    if (!kernel.capabilities.deterministic) return notDeterministic;
    return judgeDerived(NAME, judgement, changed(c, inputs, judgement.key(NAME)), true);
  },
};
