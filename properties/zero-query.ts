// zero-query: with q = 0 all tokens weigh the same, so the output is the mean of V and lse is
// ln(n).
//
// The mean needs no softmax, no exponential and no scores: it is an answer from outside the
// reference of error-bound. A token too many or too few, a tail that is not masked and an lse in
// another base show at once.

import { log2Error, u } from '../reference/arithmetic.js';
import { oneQueryToken, valueRows } from '../reference/cache.js';
import { ln2, log2 } from '../reference/exp.js';
import { queriesPerKvHead, visibleTokens } from '../reference/problem.js';
import { accept, verdictOf } from './acceptance.js';
import type { Case } from './case.js';
import type { Judgement, Observation, Property, Verdict } from './property.js';

/** Rows dequantised at a time. */
const ROWS = 128;

/** Of ln n as a kernel computes it from n: its logarithm, the unit and the addition of a zero. */
function countBound(n: number): number {
  return ln2 * log2Error(log2(n)) + (4 * u + 2 ** -44) * ln2 * log2(n) + 2 ** -64;
}

/** Means of V over what each query token sees, (requests, queryTokens, kvHeads, headSize). */
function means(c: Case, { heads }: Observation): Float64Array[] {
  return oneQueryToken(c.problem, heads).heads.map((head) => {
    const { tokens, headSize } = head;
    const mean = new Float64Array(headSize);
    for (let first = 0; first < tokens; ) {
      const end = first < head.packed ? head.packed : tokens;
      const rows = valueRows(head, first, Math.min(ROWS, end - first));
      first += rows.length / headSize;
      for (let i = 0; i < rows.length; i += headSize) {
        for (let d = 0; d < headSize; d++) mean[d] += rows[i + d];
      }
    }
    return mean.map((sum) => (tokens === 0 ? 0 : sum / tokens));
  });
}

export const zeroQuery: Property = {
  name: 'zero-query',
  statement:
    'With all queries zero, the output is the mean of V over the tokens, and lse is ln(n).',
  blind: 'Scores: K, the softmax scale and the running maximum do not matter when q is zero.',
  oneIn: 2,

  judge(judgement: Judgement): Verdict {
    const { case: c, inputs } = judgement;
    const observation = judgement.observe({ ...inputs, q: new Uint16Array(inputs.q.length) });
    if (observation.kind === 'failed') return observation.verdict;
    const { run, bound } = observation.value;
    const { queryHeads, headSize } = c.problem;
    const tokens = visibleTokens(c.problem);
    const ratio = queriesPerKvHead(c.problem);
    const rows = means(c, observation.value);
    const output = bound.output.map((reference, i) => {
      const row = Math.floor(i / headSize);
      // Rows without a bound (NaN or Inf in the cache) keep the class that the reference gives
      // them.
      return bound.guarded[row] ? reference : rows[Math.floor(row / ratio)][i % headSize];
    });
    const lse = bound.lse.map((reference, row) => {
      const n = tokens[Math.floor(row / queryHeads)];
      return bound.guarded[row] || n === 0 ? reference : ln2 * log2(n);
    });
    // Weights are exactly 1 and their sum is the whole number n: only the logarithm rounds.
    const isDeclared = judgement.kernel.capabilities.arithmetic !== null;
    const lseBound = bound.lseBound.map((own, row) => {
      const n = tokens[Math.floor(row / queryHeads)];
      return isDeclared && n > 0 && n < 2 ** 24 && bound.guarded[row] === 0 ? countBound(n) : own;
    });
    return verdictOf(
      'zero-query',
      accept(c.problem, { ...bound, output, lse, lseBound }, run.output, run.lse),
    );
  },
};
