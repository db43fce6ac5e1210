// constant-v: when all rows of V are equal, the output is that row, whatever Q and K are.
//
// Weights that do not sum to one, a denominator of another row, weights of one cache used for the
// other: all of them move the output away from a value that is known without any reference. The row
// lies on the quantisation grid, so that packed and unpacked tokens hold exactly the same.

import type { BoundResult } from '../reference/bound.js';
import { elementFromF64, elementValues } from '../reference/format.js';
import { elementType, firstTokens } from '../reference/problem.js';
import { gridCodeMax } from '../reference/scheme.js';
import { accept, verdictOf } from './acceptance.js';
import { type Case, caseHash, tensorElements } from './case.js';
import { below, derive, keyOf } from './generator.js';
import { hasSharedTokens } from './pages.js';
import type { Judgement, Property, Verdict } from './property.js';
import { rowPlaces } from './rows.js';

const BLOCK = 32;

/** One row for each request and KV head, as words, (requests, kvHeads, headSize). */
function constantRows(c: Case): Uint16Array {
  const { tokens, kvHeads, headSize } = c.problem;
  const key = keyOf(Number.parseInt(caseHash(c).slice(0, 8), 16), 5);
  const codeMax = gridCodeMax(c.scheme);
  // Requests that share tokens have one row; 8-bit codes about 0 are exact in bf16 too.
  const shared = hasSharedTokens(c);
  const centre = codeMax > 15 ? 160 : 32;
  const type = elementType(c.problem);
  const rows = new Uint16Array(tokens.length * kvHeads * headSize);
  for (let row = 0; row < tokens.length * kvHeads; row++) {
    const own = derive(key, shared ? row % kvHeads : row);
    const unit = 2 ** (below(own, 0, 9) - 6);
    const offset = below(own, 1, 64) - centre;
    for (let channel = 0; channel < headSize; channel++) {
      const place = channel % BLOCK;
      const code = place < 2 ? place * codeMax : below(own, 2 + channel, codeMax + 1);
      rows[row * headSize + channel] = elementFromF64(type, unit * (offset + code));
    }
  }
  return rows;
}

/** V with the row of its request and head at every token. */
function repeatedRows(c: Case, rows: Uint16Array): Uint16Array {
  const { problem } = c;
  const size = problem.kvHeads * problem.headSize;
  const v = new Uint16Array(tensorElements(problem).kv);
  const first = firstTokens(problem);
  problem.tokens.forEach((length, request) => {
    const row = rows.subarray(request * size, (request + 1) * size);
    for (let token = 0; token < length; token++) v.set(row, (first[request] + token) * size);
  });
  return v;
}

/** (requests, queryTokens, queryHeads, headSize) */
function expectedOutput(c: Case, rows: Uint16Array, bound: BoundResult): Float64Array {
  const { headSize } = c.problem;
  const places = rowPlaces(c.problem);
  const values = elementValues(elementType(c.problem));
  return bound.output.map((reference, i) => {
    const row = Math.floor(i / headSize);
    // Rows without a bound (NaN or Inf in Q or K) keep the class that the reference gives them.
    if (bound.guarded[row] || places[row].visible === 0) return reference;
    return values[rows[places[row].stored * headSize + (i % headSize)]];
  });
}

export const constantV: Property = {
  name: 'constant-v',
  statement: 'When all rows of V are equal, the output equals that row, whatever Q and K are.',
  blind:
    'Which tokens were read and how often: dropped, repeated and padding tokens with the same ' +
    'V, and all of the scores.',
  oneIn: 2,

  judge(judgement: Judgement): Verdict {
    const { case: c, inputs } = judgement;
    const rows = constantRows(c);
    const observation = judgement.observe({ ...inputs, v: repeatedRows(c, rows) });
    if (observation.kind === 'failed') return observation.verdict;
    const { run, bound } = observation.value;
    // In another format the row is not on the grid: what the cache makes of it is the reference's.
    const own = judgement.kernel.capabilities.layout === 'values';
    const expected = own ? bound : { ...bound, output: expectedOutput(c, rows, bound) };
    return verdictOf('constant-v', accept(c.problem, expected, run.output, run.lse));
  },
};
