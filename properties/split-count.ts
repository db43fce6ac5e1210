// split-count: into how many parts the tokens of a request are cut does not matter. The second run
// has another number of splits and is held to the bound of the first run's reference; two runs
// within one bound of the same number differ by no more than twice that bound. The cache is
// compared bit for bit: quantisation knows nothing of splits.

import { packedTokens } from '../reference/cache.js';
import { queryRowCount } from '../reference/problem.js';
import { recordTokens } from '../reference/scheme.js';
import { accept, verdictOf } from './acceptance.js';
import { type Case, ROW_SPLITS_MAX } from './case.js';
import type { DefinedRegion } from './defined-bytes.js';
import { below, type Key } from './generator.js';
import { LIMITS } from './parse-case.js';
import type { Judgement, Property, Verdict } from './property.js';
import { sameBits } from './same-bits.js';

type Buffer = DefinedRegion['buffer'];

/** None, few, as many as records, one more, and more than any record needs. */
function otherSplits({ problem, options }: Case, key: Key): number {
  const records = Math.max(...problem.tokens.map((n) => packedTokens(n) / recordTokens));
  const most = Math.min(LIMITS.splits, Math.max(4, ROW_SPLITS_MAX / queryRowCount(problem)));
  const counts = [1, 2, 3, 4, 7, 16, records, records + 1, 129].filter(
    (n) => n > 0 && n <= most && n !== options.splits,
  );
  return counts[below(key, 0, counts.length)];
}

export const splitCount: Property = {
  name: 'split-count',
  statement:
    'Every number of splits gives a result within the bound, so that two of them differ by at ' +
    'most the sum of their bounds, and the same cache.',
  blind: 'Errors below the bound that grow with the number of splits.',
  oneIn: 2,

  judge(judgement: Judgement): Verdict {
    const { case: c } = judgement;
    const reference = judgement.reference();
    if (reference.kind === 'failed') return reference.verdict;
    const splits = otherSplits(c, judgement.key('split-count'));
    const second = judgement.run(judgement.inputs, { splits });
    if (second.kind === 'failed') return second.verdict;
    const { run, bound } = reference.value;
    const isStored = (buffer: Buffer) => buffer !== 'output' && buffer !== 'lse';
    const what = `with ${splits} splits in place of ${c.options.splits}`;
    const stored = sameBits('split-count', judgement, run, second.value, what, isStored);
    if (stored.kind === 'fail') return stored;
    const { output, lse } = second.value;
    return verdictOf('split-count', accept(c.problem, bound, output, lse));
  },
};
