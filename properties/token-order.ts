// token-order: attention does not know the order of tokens. Groups of tokens that share K
// parameters change places, so do tokens within a group and tokens of the fp16 tail; parameters and
// codes move along unchanged, so the reference and its order-free bound are those of the case
// itself.
//
// Three orders: at random; scores of one query head rising (the running maximum grows with every
// step, everything is rescaled all the time) and falling (it never does).

import { packedTokens } from '../reference/cache.js';
import { elementValues } from '../reference/format.js';
import { elementType, firstTokens, queryTokenCount } from '../reference/problem.js';
import { accept, verdictOf } from './acceptance.js';
import type { Case } from './case.js';
import { below, derive, type Key, word } from './generator.js';
import type { Inputs } from './kernel.js';
import { unshared } from './pages.js';
import { type Judgement, manyQueryTokens, type Property, type Verdict } from './property.js';
import { cutsAtRecords, otherBlocks } from './stored.js';

type Rank = (request: number) => (token: number) => number;

/** Ranks by which the tokens of a request are put in order. */
function ranks(c: Case, inputs: Inputs, key: Key): Rank {
  const { queryHeads, kvHeads, headSize } = c.problem;
  const first = firstTokens(c.problem);
  const order = below(key, 0, 3);
  const head = below(key, 1, queryHeads);
  const kvHead = Math.floor(head / (queryHeads / kvHeads));
  const direction = order === 1 ? 1 : -1;
  const values = elementValues(elementType(c.problem));
  return (request) => {
    const own = derive(key, request);
    if (order === 0) return (token) => word(own, token);
    const from = (request * queryHeads + head) * headSize;
    const query = Array.from(inputs.q.subarray(from, from + headSize), (word) => values[word]);
    return (token) => {
      const at = ((first[request] + token) * kvHeads + kvHead) * headSize;
      const score = query.reduce((sum, x, d) => sum + x * values[inputs.k[at + d]], 0);
      return Number.isNaN(score) ? 0 : score * c.options.softmaxScale * direction;
    };
  };
}

/** Where each token of one request comes from, (tokens). */
function orderedTokens(tokens: number, group: number, rank: (token: number) => number): number[] {
  const byRank = (from: number, to: number) => {
    const own = Array.from({ length: to - from }, (_, i) => from + i);
    const values = own.map(rank);
    return own
      .sort((a, b) => values[a - from] - values[b - from] || a - b)
      .map((token) => ({ token, rank: values[token - from] }));
  };
  const packed = packedTokens(tokens);
  const groups = Array.from({ length: packed / group }, (_, g) =>
    byRank(g * group, (g + 1) * group),
  );
  groups.sort((a, b) => a[group - 1].rank - b[group - 1].rank || a[0].token - b[0].token);
  return [...groups.flat(), ...byRank(packed, tokens)].map(({ token }) => token);
}

function reordered(c: Case, inputs: Inputs, key: Key): Inputs {
  const { problem, scheme } = c;
  const rowSize = problem.kvHeads * problem.headSize;
  const first = firstTokens(problem);
  const rank = ranks(c, inputs, key);
  const k = new Uint16Array(inputs.k.length);
  const v = new Uint16Array(inputs.v.length);
  problem.tokens.forEach((tokens, request) => {
    const order = orderedTokens(tokens, Math.min(scheme.group, 128), rank(request));
    order.forEach((token, place) => {
      const from = (first[request] + token) * rowSize;
      const to = (first[request] + place) * rowSize;
      k.set(inputs.k.subarray(from, from + rowSize), to);
      v.set(inputs.v.subarray(from, from + rowSize), to);
    });
  });
  return { q: inputs.q, k, v };
}

export const tokenOrder: Property = {
  name: 'token-order',
  statement:
    'When groups of packed tokens, tokens within a group and tokens of the tail change places, ' +
    'the result stays within the bound of the original order.',
  blind: 'Errors below the bound; tokens that move from the records to the tail or back.',
  oneIn: 2,

  judge(judgement: Judgement): Verdict {
    if (!cutsAtRecords(judgement)) return otherBlocks;
    const { case: c, inputs } = judgement;
    if (queryTokenCount(c.problem) > 1) return manyQueryTokens;
    if (Math.max(...c.problem.tokens) < 2) {
      return { kind: 'unsupported', reason: 'no request has two tokens' };
    }
    const reference = judgement.reference();
    if (reference.kind === 'failed') return reference.verdict;
    const other = reordered(c, inputs, judgement.key('token-order'));
    const second = judgement.run(other, {}, unshared(c));
    if (second.kind === 'failed') return second.verdict;
    const { output, lse } = second.value;
    return verdictOf('token-order', accept(c.problem, reference.value.bound, output, lse));
  },
};
