// caseArbitrary: cases that a kernel declares it can run, within a budget.
//
// Generation is narrow (the kernel's formats, its tiles, a budget); shrinking is wide (everything
// that parseCase accepts), so `caseArbitrary(...).shrink(stored, undefined)` makes a case smaller
// that an older version, another kernel or a person has written. Built from records with inverses
// and without chain, because fast-check cannot shrink a foreign value through a chain.

import fc from 'fast-check';
import { CASE_SCHEMA, type Case } from '../case.js';
import type { Capabilities } from '../kernel.js';
import { LIMITS } from '../parse-case.js';
import { anyProblem, type ProblemSpace, problemArbitrary } from './problem.js';
import { anyRecipe, type RecipeSpace, recipeArbitrary } from './recipe.js';
import { related } from './related.js';
import { anyFormats, schemeArbitrary } from './scheme.js';
import { drawSwarm, type Thin, wholeSwarm } from './swarm.js';
import { Choice, Whole, Widened, weighted } from './whole.js';

export interface CaseSpace {
  /** Bounds the cost of a case: 2 * (sum of tokens) * query heads * head size. */
  readonly multiplyAddsMax: number;
  readonly requestsMax: number;
  readonly tokensMax: number;
  /** Of the one request of a deep case (related.ts). */
  readonly deepTokensMax: number;
  /** One draw in so many is deep, and one a crowd of requests (related.ts). */
  readonly rareOneIn: number;
  readonly kvHeadsMax: number;
  readonly codeLm: boolean;
  readonly nonFinite: boolean;
}

/**
 * About 8,192 pairs of a token and a query head: some tens of milliseconds on the emulator. A deep
 * request is long enough to turn a ring of eight slots in each of eight warps.
 */
export const defaultSpace: CaseSpace = {
  multiplyAddsMax: 2 ** 21,
  requestsMax: 8,
  tokensMax: 2048,
  deepTokensMax: 8192,
  rareOneIn: 32,
  kvHeadsMax: 8,
  codeLm: false,
  nonFinite: false,
};

/**
 * 1/sqrt(head size) first, then 1, then scales that flatten, sharpen or overflow a careless kernel.
 */
const SOFTMAX_SCALES = [1 / Math.sqrt(128), 1, 0.5, 0.125, 2 ** -10, 4, 64, 1024, 0.3].map(
  Math.fround,
);
const SOFTMAX_WEIGHTS = [10, 4, 1, 1, 1, 1, 1, 1, 1];

/** 0: the kernel chooses; then few, many, and more than there are records. */
const SPLITS = [0, 1, 2, 3, 4, 7, 8, 16, 33, 129];
const SPLIT_WEIGHTS = [8, 4, 4, 3, 2, 2, 1, 1, 1, 1];

function records(
  problem: ProblemSpace,
  formats: Capabilities['formats'],
  recipes: RecipeSpace,
  thin: Thin = wholeSwarm,
): fc.Arbitrary<Case> {
  const recipe = recipeArbitrary({ ...recipes, thin });
  const scaleWeights = thin(SOFTMAX_WEIGHTS);
  const splitWeights = thin(SPLIT_WEIGHTS);
  const isScale = (value: unknown) => typeof value === 'number' && Number.isFinite(value);
  const plain = { noNullPrototype: true } as const;
  return fc.record(
    {
      schema: fc.constant(CASE_SCHEMA),
      problem: problemArbitrary({ ...problem, thin }),
      scheme: schemeArbitrary(formats, thin),
      tensors: fc.record({ q: recipe, k: recipe, v: recipe }, plain),
      options: fc.record(
        {
          softmaxScale: new Choice(SOFTMAX_SCALES, scaleWeights, isScale),
          splits: new Whole({
            ...{ min: 0, max: LIMITS.splits, edges: SPLITS },
            draw: (random) => weighted(random, SPLITS, splitWeights),
          }),
        },
        plain,
      ),
    },
    plain,
  );
}

/** Shrinks any case that parseCase accepts, except literal tensors. */
export const anyCase: fc.Arbitrary<Case> = records(anyProblem, anyFormats, anyRecipe);

export function caseArbitrary(
  capabilities: Capabilities,
  options: Partial<CaseSpace> = {},
): fc.Arbitrary<Case> {
  const space = { ...defaultSpace, ...options };
  const headSizes = [...new Set(capabilities.formats.flatMap((f) => f.headSizes))];
  const problem: ProblemSpace = {
    ...{ headSizes, tiles: capabilities.tiles, ratioMax: capabilities.headsPerKvMax },
    ...{ requestsMax: space.requestsMax, kvHeadsMax: space.kvHeadsMax },
    tokensMax: Math.min(space.tokensMax, capabilities.tokensMax),
    multiplyAddsMax: space.multiplyAddsMax,
  };
  return new Widened(
    new Drawn(problem, capabilities, space, {
      ...problem,
      tokensMax: Math.min(space.deepTokensMax, capabilities.tokensMax),
    }),
    anyCase,
  );
}

/**
 * Blocks of a decode launch that a generated case may ask for, one for each request, query head and
 * split: an emulator starts a few thousand in a second, whether or not they find a token.
 */
const ROW_SPLITS_MAX = 2 ** 13;

/** The case with fewer splits where it would start too many blocks. */
function affordable(c: Case): Case {
  const rows = c.problem.tokens.length * c.problem.queryHeads;
  const splits = Math.min(c.options.splits, Math.max(1, Math.floor(ROW_SPLITS_MAX / rows)));
  return splits >= c.options.splits ? c : { ...c, options: { ...c.options, splits } };
}

/** The case with lengths that the kernel takes: rounded up, or down where that is too long. */
function inMultiples(c: Case, { tokensMultiple = 1, tokensMax }: Capabilities): Case {
  if (tokensMultiple === 1) return c;
  const tokens = c.problem.tokens.map((n) => {
    const up = Math.ceil(n / tokensMultiple) * tokensMultiple;
    return up <= tokensMax ? up : up - tokensMultiple;
  });
  return { ...c, problem: { ...c.problem, tokens } };
}

/** Cases as they are generated: each draw has a swarm of its own. It shrinks nothing. */
class Drawn extends fc.Arbitrary<Case> {
  constructor(
    private readonly problem: ProblemSpace,
    private readonly capabilities: Capabilities,
    private readonly recipes: RecipeSpace & Pick<CaseSpace, 'rareOneIn'>,
    private readonly deepSpace: ProblemSpace,
  ) {
    super();
  }

  override generate(random: fc.Random, bias: number | undefined): fc.Value<Case> {
    const { problem, capabilities, recipes } = this;
    const thin = drawSwarm(random);
    const drawn = records(problem, capabilities.formats, recipes, thin).generate(random, bias);
    const whole = inMultiples(
      related(random, drawn.value, this.deepSpace, recipes.rareOneIn),
      capabilities,
    );
    return new fc.Value(affordable(whole), undefined);
  }

  override canShrinkWithoutContext(_value: unknown): _value is Case {
    return false;
  }

  override shrink(): fc.Stream<fc.Value<Case>> {
    return fc.Stream.nil();
  }
}
