// related: fields of a generated case that belong together and that independent draws hardly ever
// put together. Only generation passes through here, so nothing needs an inverse; what comes out is
// a case like any other.

import type fc from 'fast-check';
import { packedTokens } from '../../reference/cache.js';
import { queryTokenCount } from '../../reference/problem.js';
import { recordTokens } from '../../reference/scheme.js';
import { type Case, multiplyAdds } from '../case.js';
import { LIMITS } from '../parse-case.js';
import type { Recipe } from '../recipe.js';
import type { ProblemSpace } from './problem.js';

/** Requests of a crowd: beside powers of two, which tables, warps and grids are made for. */
export const CROWDS = [31, 32, 33, 34, 63, 64, 65, 96, 97, 128, 129];
/** What the requests of a crowd hold: mostly a part of a window, sometimes a record. */
const CROWD_TOKENS = [0, 1, 2, 5, 31, 127, 128, 129, 130];
/** Times the largest tile: what a block works through before every buffer was used again. */
const DEPTHS = [2, 3, 4, 5, 8];

/** `rareOneIn`: one draw in so many is deep, and one is a crowd. */
export function related(random: fc.Random, c: Case, space: ProblemSpace, rareOneIn: number): Case {
  const changed = lossless(random, fromOneModel(c));
  switch (random.nextInt(0, rareOneIn - 1)) {
    case 0:
      return deep(random, changed, space);
    case 1:
      return crowd(random, changed, space);
    default:
      return splitAtRecords(random, changed);
  }
}

/** Many short requests, with one KV head and a query head or two; the case as it is if too dear. */
function crowd(random: fc.Random, c: Case, space: ProblemSpace): Case {
  const pick = (from: readonly number[]) => from[random.nextInt(0, from.length - 1)];
  const few = [pick(CROWD_TOKENS), pick(CROWD_TOKENS)];
  const tokens = Array.from({ length: pick(CROWDS) }, () => Math.min(pick(few), space.tokensMax));
  const queryHeads = random.nextInt(1, Math.min(2, space.ratioMax));
  const splits = random.nextInt(0, 3);
  const problem = { ...c.problem, tokens, queryHeads, kvHeads: 1 };
  if (multiplyAdds(problem) > space.multiplyAddsMax) return c;
  return { ...c, problem, options: { ...c.options, splits } };
}

/**
 * A third of what is appended starts beside a record's edge: the window is full after no step, one
 * or two, and once more a record later.
 */
export function appendedAtRecords(random: fc.Random, c: Case): Case {
  const { appended = 0 } = c.options;
  if (appended === 0 || random.nextInt(0, 2) !== 0) return c;
  const tail = c.problem.tokens[random.nextInt(0, c.problem.tokens.length - 1)] % recordTokens;
  const steps = tail + random.nextInt(-1, 2) + recordTokens * random.nextInt(0, 1);
  return { ...c, options: { ...c.options, appended: Math.max(1, steps) } };
}

/**
 * One request so long, and in one split, that a block goes several times through everything it
 * uses in turn (slots of a ring, phases of a barrier); one or two query heads, to stay in the
 * budget.
 */
function deep(random: fc.Random, c: Case, space: ProblemSpace): Case {
  const { headSize } = c.problem;
  const largest = Math.max(recordTokens, ...space.tiles);
  const depth = DEPTHS[random.nextInt(0, DEPTHS.length - 1)];
  const tokens = depth * largest + random.nextInt(-1, 1) * random.nextInt(0, recordTokens);
  const pairsMax = Math.floor(space.multiplyAddsMax / (2 * headSize * queryTokenCount(c.problem)));
  const length = Math.min(tokens, space.tokensMax, pairsMax);
  const queryHeads = 2 * length <= pairsMax ? random.nextInt(1, Math.min(2, space.ratioMax)) : 1;
  const problem = { ...c.problem, tokens: [length], queryHeads, kvHeads: 1 };
  return { ...c, problem, options: { ...c.options, splits: random.nextInt(1, 2) } };
}

/**
 * K from the real cache mostly comes with the queries and values of the same layer, because scores
 * between unrelated layers look like noise.
 */
function fromOneModel(c: Case): Case {
  const { k, v } = c.tensors;
  if (k.distribution !== 'code-lm' || k.firstToken % 4 === 0) return c;
  return { ...c, tensors: { q: k, k, v: v.distribution === 'zero' ? v : k } };
}

/**
 * Both K and V on the quantisation grid: nothing is lost, so that any error is the kernel's own.
 */
function lossless(random: fc.Random, c: Case): Case {
  if (random.nextInt(0, 11) !== 0) return c;
  const onGrid = (recipe: Recipe): Recipe =>
    recipe.distribution === 'code-lm' || recipe.distribution === 'literal'
      ? recipe
      : {
          distribution: 'grid',
          seed: recipe.seed,
          scale: random.nextInt(-6, 4),
          offset: random.nextInt(-32, 32),
        };
  const { q, k, v } = c.tensors;
  return { ...c, tensors: { q, k: onGrid(k), v: onGrid(v) } };
}

/** Where splits are fixed, a third of them are near what the longest request has to share out. */
function splitAtRecords(random: fc.Random, c: Case): Case {
  if (c.options.splits === 0 || random.nextInt(0, 2) !== 0) return c;
  const records = Math.max(...c.problem.tokens.map((n) => packedTokens(n) / recordTokens));
  const share = Math.ceil(records / random.nextInt(1, 3));
  const splits = Math.min(Math.max(share + random.nextInt(-1, 1), 1), LIMITS.splits);
  return { ...c, options: { ...c.options, splits } };
}
