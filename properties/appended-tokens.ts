// appended-tokens: a cache that grew token by token is the cache of one shot, bit for bit, and so
// is everything that is read from it: a window is packed when it is full as if its tokens had come
// at once, and what is packed is never quantised again.

import { recordTokens } from '../reference/scheme.js';
import type { Case } from './case.js';
import { below, type Key } from './generator.js';
import type { Judgement, Property, Verdict } from './property.js';
import { notDeterministic, sameBits } from './same-bits.js';

const NAME = 'appended-tokens';
/** A step is a launch: enough to fill a window, whatever it held, and some more. */
const STEPS_MAX = recordTokens + 3;

/** Another number of steps: none if there are some, else such that windows fill up, or do not. */
function otherSteps({ problem, options }: Case, key: Key): number {
  if ((options.appended ?? 0) > 0) return 0;
  const longest = Math.max(...problem.tokens);
  const tail = longest % recordTokens;
  const steps = [1, tail, tail + 1, tail + 2, recordTokens, STEPS_MAX].filter(
    (n) => n > 0 && n <= Math.min(longest, STEPS_MAX),
  );
  return steps[below(key, 0, steps.length)];
}

export const appendedTokens: Property = {
  name: NAME,
  statement:
    'Tokens that are appended one a step give the same bits in the cache, the windows and the ' +
    'output as tokens that are quantised at once.',
  blind: 'What is wrong in both ways alike; the speed of a step.',
  oneIn: 2,

  judge(judgement: Judgement): Verdict {
    const { case: c, inputs, kernel } = judgement;
    if (kernel.capabilities.append !== true) {
      return { kind: 'unsupported', reason: 'the kernel does not declare appending' };
    }
    if (!kernel.capabilities.deterministic) return notDeterministic;
    if (c.problem.tokens.every((n) => n === 0)) {
      return { kind: 'unsupported', reason: 'there are no tokens' };
    }
    const base = judgement.base();
    if (base.kind === 'failed') return base.verdict;
    const appended = otherSteps(c, judgement.key(NAME));
    const second = judgement.run(inputs, {}, { ...c, options: { ...c.options, appended } });
    if (second.kind === 'failed') return second.verdict;
    const what = `with ${appended} tokens appended, not ${c.options.appended ?? 0},`;
    return sameBits(NAME, judgement, base.value, second.value, what);
  },
};
