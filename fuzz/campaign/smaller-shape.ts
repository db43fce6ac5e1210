// smaller-shape.ts - much smaller cases than one that cannot be made smaller step by step.
//
// A shrinker takes away one thing at a time and keeps the values of what stays, so it ends where
// the values that fail happen to be: in the second head, in the third record. What the bug needs is
// often less, with other values. So when it ends, the smallest shapes of the same scheme are tried
// with seeds of their own: one request on one KV head, with a token, a window, a record, and as
// many tokens as there were.

import type { Case } from '../../properties/case.js';
import { unshared } from '../../properties/pages.js';
import type { Recipe } from '../../properties/recipe.js';
import { recordTokens } from '../../reference/scheme.js';

const SEEDS = 6;
/** A record and a token: nothing needs to be smaller. */
export const SMALL_TOKENS = recordTokens + 1;

/** Whether a failing case is as small as anyone wants to read. tokens: of all requests. */
export function isSmall(size: { requests: number; kvHeads: number; tokens: number }): boolean {
  return size.requests === 1 && size.kvHeads === 1 && size.tokens <= SMALL_TOKENS;
}

/** Tokens of the one request: at most as many as the longest has, and as its window has. */
function lengthsOf({ problem: { tokens } }: Case): number[] {
  const longest = Math.max(...tokens);
  const window = Math.max(...tokens.map((n) => n % recordTokens));
  const lengths = [Math.min(longest, 1), window, recordTokens, SMALL_TOKENS, longest];
  return [...new Set(lengths)].filter((n) => n <= longest).sort((a, b) => a - b);
}

function reseeded(recipe: Recipe, seed: number): Recipe {
  return 'seed' in recipe ? { ...recipe, seed: (recipe.seed + seed) >>> 0 } : recipe;
}

/** Smallest first; nothing for a case that is small already, or one of given values. */
export function* smallerShapes(c: Case): Iterable<Case> {
  const { q, k, v } = c.tensors;
  const { kvHeads, queryHeads, tokens } = c.problem;
  const size = { requests: tokens.length, kvHeads, tokens: tokens[0] };
  if (isSmall(size) || [q, k, v].some(({ distribution }) => distribution === 'literal')) return;
  const isOne = tokens.length === 1 && kvHeads === 1;
  for (const length of lengthsOf(c)) {
    if (isOne && length === tokens[0]) continue;
    const heads = { kvHeads: 1, queryHeads: queryHeads / kvHeads };
    const problem = { ...c.problem, ...heads, tokens: [length] };
    for (let seed = 0; seed < SEEDS; seed++) {
      const tensors = { q: reseeded(q, seed), k: reseeded(k, seed), v: reseeded(v, seed) };
      yield unshared({ ...c, problem, tensors });
    }
  }
}
