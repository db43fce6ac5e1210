// related: fields of a generated case that belong together and that independent draws hardly ever
// put together. Only generation passes through here, so nothing needs an inverse; what comes out is
// a case like any other.

import type fc from 'fast-check';
import { packedTokens } from '../../reference/cache.js';
import { queryTokenCount } from '../../reference/problem.js';
import { recordTokens } from '../../reference/scheme.js';
import type { Case } from '../case.js';
import { GRADE_BITS } from '../distributions.js';
import { LIMITS } from '../parse-case.js';
import { type Distribution, type Recipe, SEED_MAX } from '../recipe.js';
import { type RareKind, type RareSpace, rareCase } from './rare.js';

export interface RelatedSpace extends RareSpace {
  readonly rareOneIn: number;
  readonly always?: RareKind | undefined;
  /** NaN and infinities may be drawn. */
  readonly nonFinite: boolean;
}

/** One long request among so many rare cases: it takes seconds. */
const LONG_ONE_IN = 32;

/** `rareOneIn`: one draw in so many is of each rare kind; `always`: every draw is of this kind. */
export function related(random: fc.Random, c: Case, space: RelatedSpace): Case {
  const drawn = evenlyWeighted(random, lossless(random, fromOneModel(c)));
  const values = cancelling(random, balanced(random, drawn), 32);
  const signed = space.nonFinite ? signsBesideInfinity(random, values) : values;
  const changed = beyondTheRecord(random, aroundTiles(random, signed, space.problem));
  const rare = (kind: RareKind) => {
    const shaped = rareCase(random, changed, kind, space);
    return kind === 'split' ? cancelling(random, shaped, 2) : shaped;
  };
  if (space.always !== undefined) return rare(space.always);
  switch (random.nextInt(0, space.rareOneIn - 1)) {
    case 0:
      return rare('deep');
    case 1:
      return rare('crowd');
    case 2:
      return rare('shared');
    case 3:
      return rare('wide');
    case 4: {
      const kind = random.nextInt(0, LONG_ONE_IN - 1) === 0 ? 'long' : 'split';
      return rare(kind);
    }
    default:
      return splitAtRecords(random, changed);
  }
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

/**
 * Scores that lie within a few units of each other, so that many tokens weigh something: what a
 * weight is rounded to shows only where more than one of them counts.
 */
function evenlyWeighted(random: fc.Random, c: Case): Case {
  if (random.nextInt(0, 7) !== 0) return c;
  const normal = (scale: number): Recipe => ({
    ...{ distribution: 'normal', seed: random.nextInt(0, 0x7fffffff), scale, offset: 0 },
  });
  return usuallyScaled(c, { ...c.tensors, q: normal(random.nextInt(-5, 1)), k: normal(0) });
}

function seeded(random: fc.Random, distribution: Distribution, scale: number): Recipe {
  return { distribution, seed: random.nextInt(0, SEED_MAX), scale, offset: 0 };
}

/**
 * Weights from 1 to 2^-24, and values that make up for them: every token has its part in the
 * output, and so has every bit of its weight, however small.
 */
function balanced(random: fc.Random, c: Case): Case {
  if (random.nextInt(0, 15) !== 0) return c;
  const scale = random.nextInt(-3, 3);
  const q = seeded(random, 'constant', scale);
  const [k, v] = [
    seeded(random, 'graded', 0),
    seeded(random, 'counter-graded', random.nextInt(10, 14)),
  ];
  const score = c.problem.headSize * 2 ** scale; // of one grade more
  const softmaxScale = Math.fround((GRADE_BITS * Math.LN2) / score);
  return { ...c, tensors: { q, k, v }, options: { ...c.options, softmaxScale } };
}

/** Other tensors, and scores of the size that they give: the softmax scale is the usual one. */
function usuallyScaled(c: Case, tensors: Case['tensors']): Case {
  const softmaxScale = Math.fround(1 / Math.sqrt(c.problem.headSize));
  return { ...c, tensors, options: { ...c.options, softmaxScale } };
}

/**
 * Records that cancel in pairs, one case in `oneIn`: an output so much smaller than what it is
 * summed from shows in which order that was. V is so large that fp16 holds what is left.
 */
function cancelling(random: fc.Random, c: Case, oneIn: number): Case {
  if (random.nextInt(0, oneIn - 1) !== 0) return c;
  const q = seeded(random, 'normal', random.nextInt(-3, 0));
  const [k, v] = [
    seeded(random, 'paired-records', 0),
    seeded(random, 'opposite-records', random.nextInt(5, 9)),
  ];
  return usuallyScaled(c, { q, k, v });
}

/**
 * Keys with infinities and queries of one sign but for few elements: whether a score is infinite or
 * no number depends on a single sign or zero, of the channels that share a group.
 */
function signsBesideInfinity(random: fc.Random, c: Case): Case {
  if (random.nextInt(0, 31) !== 0) return c;
  const name = random.nextInt(0, 1) === 0 ? 'non-finite-groups' : 'non-finite';
  const q = seeded(random, 'one-sided', random.nextInt(-3, 0));
  return usuallyScaled(c, { ...c.tensors, q, k: seeded(random, name, 0) });
}

/**
 * Of several query tokens the first see less than the last: in half of the cases requests end so
 * soon behind a record that some of them see nothing of the window, and half of those without a
 * record are so short that some see nothing at all.
 */
function beyondTheRecord(random: fc.Random, c: Case): Case {
  const queries = queryTokenCount(c.problem);
  if (queries === 1 || random.nextInt(0, 1) === 0) return c;
  const tokens = c.problem.tokens.map((length) => {
    const packed = packedTokens(length);
    if (packed === 0 && random.nextInt(0, 1) === 0) return length;
    return Math.min(length, packed + random.nextInt(0, queries - 1));
  });
  return { ...c, problem: { ...c.problem, tokens } };
}

/** Query rows of a KV head fill so many tiles, and a part of the next. */
const WHOLE_TILES = 3;

/**
 * Query rows, which are heads times query tokens, that end within one of the smallest tiles or on
 * either side of its end, in one case of eight; requests are cut to what the budget has left.
 */
function aroundTiles(random: fc.Random, c: Case, space: RareSpace['problem']): Case {
  const tiles = space.tiles.filter((tile) => tile > 1 && tile <= space.ratioMax).slice(0, 2);
  if (tiles.length === 0 || random.nextInt(0, 7) !== 0) return c;
  const tile = tiles[random.nextInt(0, tiles.length - 1)];
  const rows = tile * random.nextInt(1, WHOLE_TILES) + random.nextInt(-1, tile - 1);
  const tokenCounts = Array.from({ length: space.queryTokensMax ?? 1 }, (_, i) => i + 1);
  const possible = tokenCounts.filter((n) => rows % n === 0 && rows / n <= space.ratioMax);
  if (possible.length === 0) return c;
  const queryTokens = possible[random.nextInt(0, possible.length - 1)];
  const { queryTokens: _n, ...rest } = c.problem;
  const kvHeads = Math.min(c.problem.kvHeads, 2);
  const pairs = Math.floor(space.multiplyAddsMax / (2 * rest.headSize * rows * kvHeads));
  const tokens = c.problem.tokens.map((n) => Math.min(n, pairs));
  while (tokens.length > 1 && tokens.reduce((sum, n) => sum + n, 0) > pairs) tokens.pop();
  const many = queryTokens === 1 ? {} : { queryTokens };
  const queryHeads = kvHeads * (rows / queryTokens);
  return { ...c, problem: { ...rest, tokens, kvHeads, queryHeads, ...many } };
}

/** Where splits are fixed, a third of them are near what the longest request has to share out. */
function splitAtRecords(random: fc.Random, c: Case): Case {
  if (c.options.splits === 0 || random.nextInt(0, 2) !== 0) return c;
  const records = Math.max(...c.problem.tokens.map((n) => packedTokens(n) / recordTokens));
  const share = Math.ceil(records / random.nextInt(1, 3));
  const splits = Math.min(Math.max(share + random.nextInt(-1, 1), 1), LIMITS.splits);
  return { ...c, options: { ...c.options, splits } };
}
