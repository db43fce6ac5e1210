// related: fields of a generated case that belong together and that independent draws hardly ever
// put together. Only generation passes through here, so nothing needs an inverse; what comes out is
// a case like any other.

import type fc from 'fast-check';
import { packedTokens } from '../../reference/cache.js';
import { recordTokens } from '../../reference/scheme.js';
import type { Case } from '../case.js';
import { LIMITS } from '../parse-case.js';
import type { Recipe } from '../recipe.js';

export function related(random: fc.Random, c: Case): Case {
  return splitAtRecords(random, lossless(random, fromOneModel(c)));
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
