// neighbour-content: what other requests and heads hold does not matter. About half of the
// (request, KV head) pairs keep their tensors, the others are filled with NaN, query included: one
// load across a border, one weight that should have been zero, and the NaN is in the result.

import { firstTokens } from '../reference/problem.js';
import type { Case } from './case.js';
import { type Derived, judgeDerived } from './derived.js';
import { derive, type Key, word } from './generator.js';
import type { Inputs } from './kernel.js';
import { unshared } from './pages.js';
import type { Judgement, Property, Verdict } from './property.js';
import { rowPlaces } from './rows.js';

const NAN = 0x7fff;

/** Which (request, KV head) pairs keep their content; at least one does and one does not. */
function keptHeads(count: number, key: Key): Uint8Array {
  const kept = Uint8Array.from({ length: count }, (_, i) => word(key, i) & 1);
  if (kept.every((x) => x === kept[0])) kept[word(derive(key, count), 0) % count] ^= 1;
  return kept;
}

function surrounded(c: Case, inputs: Inputs, key: Key): Derived {
  const { tokens, kvHeads, headSize } = c.problem;
  const first = firstTokens(c.problem);
  const places = rowPlaces(c.problem);
  const kept = keptHeads(tokens.length * kvHeads, key);
  const [q, k, v] = [inputs.q.slice(), inputs.k.slice(), inputs.v.slice()];
  for (const [index, keep] of kept.entries()) {
    if (keep === 1) continue;
    const [request, head] = [Math.floor(index / kvHeads), index % kvHeads];
    for (let token = first[request]; token < first[request + 1]; token++) {
      const from = (token * kvHeads + head) * headSize;
      k.fill(NAN, from, from + headSize);
      v.fill(NAN, from, from + headSize);
    }
  }
  const rows = Int32Array.from(places, ({ stored }, row) => (kept[stored] === 1 ? row : -1));
  for (const [row, from] of rows.entries()) {
    if (from === -1) q.fill(NAN, row * headSize, (row + 1) * headSize);
  }
  return {
    case: unshared(c),
    inputs: { q, k, v },
    rows,
    heads: Int32Array.from(kept, (keep, index) => (keep === 1 ? index : -1)),
  };
}

export const neighbourContent: Property = {
  name: 'neighbour-content',
  statement:
    'With NaN in the tensors of other requests and heads, a result stays: the same bits where ' +
    'the kernel promises that, else within its bound.',
  blind: 'Reads across a border whose value is not used; memory that belongs to no request.',
  oneIn: 4,

  judge(judgement: Judgement): Verdict {
    const { case: c, inputs } = judgement;
    if (c.problem.tokens.length * c.problem.kvHeads === 1) {
      return { kind: 'unsupported', reason: 'the case has one request and one KV head' };
    }
    const derived = surrounded(c, inputs, judgement.key('neighbour-content'));
    return judgeDerived('neighbour-content', judgement, derived);
  },
};
