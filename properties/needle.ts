// needle: with one planted key per query head, every output is that token's row of V.
//
// Random data hides permutations: two heads, tokens or channels of noise look alike. Here each
// answer names the request, the head, the token and the channel it was read from (planted.ts), at
// the very shape, scheme and options of the case. The same run shows what the oracle is worth at
// this shape (oracle-power.ts), and that is part of the verdict.

import { valueRows } from '../reference/cache.js';
import { accept, describeWorst } from './acceptance.js';
import { caseHash } from './case.js';
import { weakness } from './oracle-power.js';
import { type Planted, plant, plantedRounds } from './planted.js';
import type { Judgement, Observation, Property, Verdict } from './property.js';
import { describeRow, rowPlaces } from './rows.js';

/** The first row whose reference is not the planted token's V, or null. */
function lostKey(
  judgement: Judgement,
  observed: Observation,
  positions: Int32Array,
): string | null {
  const { problem } = judgement.case;
  const { headSize } = problem;
  const places = rowPlaces(problem);
  const { output, outputBound } = observed.bound;
  for (let row = 0; row < positions.length; row++) {
    if (positions[row] === -1) continue;
    const value = valueRows(observed.heads[places[row].stored], positions[row], 1);
    for (let d = 0; d < headSize; d++) {
      const i = row * headSize + d;
      if (!(Math.abs(output[i] - value[d]) <= outputBound[i])) {
        const place = describeRow(problem, row);
        return `${place}: found no key along the query in the cache, required at ${positions[row]}`;
      }
    }
  }
  return null;
}

export const needle: Property = {
  name: 'needle',
  statement:
    'With one key planted for each query head, every output is the V row of that token, and the ' +
    'oracle rejects the zero output, swapped heads and a dropped last token at this shape.',
  blind:
    'How weights are spread: only the largest one counts; the values of the case itself are not ' +
    'used.',

  judge(judgement: Judgement): Verdict {
    const { case: c } = judgement;
    const seed = Number.parseInt(caseHash(c).slice(0, 8), 16);
    let elements = 0;
    let ratio = 0;
    for (let round = 0; round < plantedRounds(c.problem); round++) {
      const planted = plant(c, seed, round);
      if (planted === null) {
        return { kind: 'unsupported', reason: 'no fp16 query makes a key stand out at this scale' };
      }
      const verdict = judgeRound(judgement, planted);
      if (verdict.kind !== 'pass') return verdict;
      elements += verdict.elements;
      ratio = Math.max(ratio, verdict.ratio);
    }
    return { kind: 'pass', elements, ratio };
  },
};

function judgeRound(judgement: Judgement, { inputs, positions }: Planted): Verdict {
  const { case: c } = judgement;
  const observation = judgement.observe(inputs);
  if (observation.kind === 'failed') return observation.verdict;
  const observed = observation.value;
  if (positions.some((at, row) => at !== -1 && observed.bound.guarded[row] === 1)) {
    return {
      kind: 'unsupported',
      reason: 'scores this large have no bound in the precision declared',
    };
  }
  const lost = lostKey(judgement, observed, positions);
  if (lost !== null) return { kind: 'fail', signature: 'needle/cache', message: lost };
  const { run, bound } = observed;
  const acceptance = accept(c.problem, bound, run.output, run.lse);
  if (acceptance.kind === 'rejected') {
    const { tensor, worst } = acceptance;
    const message = describeWorst(worst);
    return { kind: 'fail', signature: `needle/${tensor}`, message, worst };
  }
  const weak = weakness(c, observed, positions);
  if (weak !== null) {
    const message = `the bound accepts ${weak}, required: rejects it`;
    return { kind: 'fail', signature: 'needle/oracle-too-weak', message };
  }
  return { kind: 'pass', elements: acceptance.elements, ratio: acceptance.ratio };
}
