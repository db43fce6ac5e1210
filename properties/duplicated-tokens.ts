// duplicated-tokens: every token twice leaves the output as it is and adds ln 2 to lse. Records are
// written twice, the tail twice behind them, where that keeps the tail below a record; the other
// requests stay single.

import { packedTokens } from '../reference/cache.js';
import { ln2 } from '../reference/exp.js';
import { firstTokens, queryTokenCount } from '../reference/problem.js';
import { recordTokens } from '../reference/scheme.js';
import { accept, verdictOf } from './acceptance.js';
import { unshared } from './pages.js';
import { type Judgement, manyQueryTokens, type Property, type Verdict } from './property.js';
import { cutsAtRecords, otherBlocks } from './stored.js';

/** Twice the tail is still a tail, so that what is packed stays packed and the rest stays fp16. */
const isDoubled = (tokens: number) => tokens > 0 && 2 * (tokens % recordTokens) < recordTokens;

/** x (sum of tokens, row size) with the tokens of the doubled requests twice. */
function doubled(x: Uint16Array, tokens: readonly number[], rowSize: number): Uint16Array {
  const first = firstTokens({ tokens, queryHeads: 1, kvHeads: 1, headSize: 1 });
  const total = tokens.reduce((sum, n) => sum + (isDoubled(n) ? 2 * n : n), 0);
  const out = new Uint16Array(total * rowSize);
  let at = 0;
  const append = (from: number, to: number) => {
    out.set(x.subarray(from * rowSize, to * rowSize), at * rowSize);
    at += to - from;
  };
  tokens.forEach((n, request) => {
    const [from, to] = [first[request], first[request + 1]];
    const tail = from + packedTokens(n);
    for (let copy = 0; copy < (isDoubled(n) ? 2 : 1); copy++) append(from, tail);
    for (let copy = 0; copy < (isDoubled(n) ? 2 : 1); copy++) append(tail, to);
  });
  return out;
}

export const duplicatedTokens: Property = {
  name: 'duplicated-tokens',
  statement:
    'With every token twice, the output is within the bound of what it was, and lse within that ' +
    'of lse + ln 2.',
  blind: 'Tokens that are lost in pairs; requests whose tail would fill a record.',
  oneIn: 8,

  judge(judgement: Judgement): Verdict {
    if (!cutsAtRecords(judgement)) return otherBlocks;
    const { case: c, inputs } = judgement;
    const { problem } = c;
    const { tokens, kvHeads, queryHeads, headSize } = problem;
    if (queryTokenCount(problem) > 1) return manyQueryTokens;
    if (!tokens.some(isDoubled)) {
      return { kind: 'unsupported', reason: 'no request can be doubled without packing its tail' };
    }
    const reference = judgement.reference();
    if (reference.kind === 'failed') return reference.verdict;
    const rowSize = kvHeads * headSize;
    const twice = {
      q: inputs.q,
      k: doubled(inputs.k, tokens, rowSize),
      v: doubled(inputs.v, tokens, rowSize),
    };
    const lengths = tokens.map((n) => (isDoubled(n) ? 2 * n : n));
    const longer = { ...unshared(c), problem: { ...problem, tokens: lengths } };
    const observation = judgement.observe(twice, {}, longer);
    if (observation.kind === 'failed') return observation.verdict;

    const { run, bound } = observation.value;
    const single = reference.value.bound;
    const known = (row: number) => single.guarded[row] === 0 && bound.guarded[row] === 0;
    const expected = {
      ...bound,
      output: bound.output.map((own, i) =>
        known(Math.floor(i / headSize)) ? single.output[i] : own,
      ),
      lse: bound.lse.map((own, row) => {
        if (!known(row)) return own;
        return single.lse[row] + (isDoubled(tokens[Math.floor(row / queryHeads)]) ? ln2 : 0);
      }),
    };
    return verdictOf('duplicated-tokens', accept(problem, expected, run.output, run.lse));
  },
};
