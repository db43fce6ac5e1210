// kept-tokens: pages that requests share are one request's to write. What the others are given for
// the tokens in them does not matter: the second run gives them NaN there, and where the kernel
// appends it lets their windows fill up with it. Whoever packs a record that another request
// writes, at once or in a step, packs NaN over it; with equal tokens it would be a race that nobody
// sees.

import { firstTokens } from '../reference/problem.js';
import { recordTokens } from '../reference/scheme.js';
import type { Case } from './case.js';
import { below, type Key } from './generator.js';
import type { Inputs } from './kernel.js';
import { hasSharedTokens, sharedTokens } from './pages.js';
import type { Judgement, Property, Verdict } from './property.js';
import { notDeterministic, sameBits } from './same-bits.js';

const NAME = 'kept-tokens';
const NAN = 0x7fff; // of either type
/** Steps before the end of the shared tokens. */
const BEFORE = 2;
/** A step is a launch. */
const STEPS_MAX = recordTokens;

/** NaN in the tokens that another request's pages hold. */
function withoutKept({ problem }: Case, inputs: Inputs, kept: readonly number[]): Inputs {
  const first = firstTokens(problem);
  const rowSize = problem.kvHeads * problem.headSize;
  const [k, v] = [inputs.k.slice(), inputs.v.slice()];
  for (const [request, tokens] of kept.entries()) {
    const from = first[request] * rowSize;
    for (const x of [k, v]) x.fill(NAN, from, from + tokens * rowSize);
  }
  return { q: inputs.q, k, v };
}

/** As many steps as the case has, or enough for a last shared record to fill in one of them. */
function stepsOf({ problem, options }: Case, kept: readonly number[], key: Key): number {
  const own = options.appended ?? 0;
  const enough = problem.tokens
    .map((tokens, request) => (kept[request] > 0 ? tokens - kept[request] + BEFORE : 0))
    .filter((steps) => steps > 0 && steps <= STEPS_MAX);
  if (enough.length === 0 || below(key, 0, 3) === 0) return own;
  return enough[below(key, 1, enough.length)];
}

export const keptTokens: Property = {
  name: NAME,
  statement:
    'What a request is given for tokens whose pages another request writes does not matter: with ' +
    'NaN there, every bit stays.',
  blind: 'Requests that share nothing; a second write of bytes that are right.',

  judge(judgement: Judgement): Verdict {
    const { case: c, inputs, kernel } = judgement;
    const { layout, append, deterministic } = kernel.capabilities;
    if (layout !== 'record128') {
      return { kind: 'unsupported', reason: 'who writes a shared page is not said' };
    }
    if (!hasSharedTokens(c)) {
      return { kind: 'unsupported', reason: 'no requests share a page' };
    }
    if (!deterministic) return notDeterministic;
    const base = judgement.base();
    if (base.kind === 'failed') return base.verdict;
    const kept = sharedTokens(c);
    const own = c.options.appended ?? 0;
    const appended = append === true ? stepsOf(c, kept, judgement.key(NAME)) : own;
    const { appended: _a, ...options } = c.options;
    const stepped = { ...c, options: appended === 0 ? options : { ...options, appended } };
    const second = judgement.run(withoutKept(c, inputs, kept), {}, stepped);
    if (second.kind === 'failed') return second.verdict;
    const what = `with NaN in shared tokens and ${appended} steps`;
    return sameBits(NAME, judgement, base.value, second.value, what);
  },
};
