// caseArbitrary: cases that a kernel declares it can run, within a budget.
//
// Generation is narrow (the kernel's formats, its tiles, a budget); shrinking is wide (everything
// that parseCase accepts), so `caseArbitrary(...).shrink(stored, undefined)` makes a case smaller
// that an older version, another kernel or a person has written. Built from records with inverses
// and without chain, because fast-check cannot shrink a foreign value through a chain.

import fc from 'fast-check';
import type { ElementType } from '../../reference/format.js';
import { caseSchemeError } from '../../reference/formats/case-scheme.js';
import { problemError, queryRowCount } from '../../reference/problem.js';
import { CASE_SCHEMA, type Case, ROW_SPLITS_MAX } from '../case.js';
import type { Capabilities, FormatSupport } from '../kernel.js';
import { fitted } from './fitted.js';
import { type OptionSpace, optionsArbitrary } from './options.js';
import { anyProblem, type ProblemSpace, problemArbitrary } from './problem.js';
import type { RareKind, RareSpace } from './rare.js';
import { anyRecipe, type RecipeSpace, recipeArbitrary } from './recipe.js';
import { appendedAtRecords, related } from './related.js';
import { anyFormats, schemeArbitrary } from './scheme.js';
import { drawSwarm, type Thin, wholeSwarm } from './swarm.js';
import { Widened } from './whole.js';

export interface CaseSpace {
  /** Bounds the cost of a case: 2 * (sum of tokens) * query tokens * query heads * head size. */
  readonly multiplyAddsMax: number;
  readonly requestsMax: number;
  readonly tokensMax: number;
  /** Of the one request of a deep case (rare.ts). */
  readonly deepTokensMax: number;
  /** Of the one request of a long case (rare.ts). */
  readonly longTokensMax: number;
  /** One draw in so many is of each rare kind (rare.ts). */
  readonly rareOneIn: number;
  /** Every draw is of this kind. */
  readonly always?: RareKind;
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
  longTokensMax: 2 ** 16 + 256,
  rareOneIn: 32,
  kvHeadsMax: 8,
  codeLm: false,
  nonFinite: false,
};

function records(
  problem: ProblemSpace,
  formats: Capabilities['formats'],
  recipes: RecipeSpace,
  options: OptionSpace,
  thin: Thin = wholeSwarm,
): fc.Arbitrary<Case> {
  const recipe = recipeArbitrary({ ...recipes, thin });
  const ownOptions = optionsArbitrary(options, thin);
  const plain = { noNullPrototype: true } as const;
  return fc.record(
    {
      schema: fc.constant(CASE_SCHEMA),
      problem: problemArbitrary({ ...problem, thin }),
      scheme: schemeArbitrary(formats, thin),
      tensors: fc.record({ q: recipe, k: recipe, v: recipe }, plain),
      options: ownOptions,
    },
    plain,
  );
}

/** Not every scheme goes with every head size: fields that shrink one by one may part. */
function isPossible({ problem, scheme }: Case): boolean {
  return problemError(problem) === null && caseSchemeError(scheme, problem) === null;
}

/** Shrinks any case that parseCase accepts, except literal tensors. */
export const anyCase: fc.Arbitrary<Case> = records(anyProblem, anyFormats, anyRecipe, {}).filter(
  isPossible,
);

const typesOfEntry = ({ types = ['fp16'] }: FormatSupport) => types;

/** Types that some format is declared for, simplest first. */
function typesOf({ formats }: Capabilities): ElementType[] {
  const declared = new Set(formats.flatMap(typesOfEntry));
  return (['fp16', 'bf16'] as const).filter((type) => declared.has(type));
}

export function caseArbitrary(
  capabilities: Capabilities,
  options: Partial<CaseSpace> = {},
): fc.Arbitrary<Case> {
  const space = { ...defaultSpace, ...options };
  const headSizes = [...new Set(capabilities.formats.flatMap((f) => f.headSizes))];
  const problem: ProblemSpace = {
    ...{ headSizes, tiles: capabilities.tiles, ratioMax: capabilities.headsPerKvMax },
    ...{ types: typesOf(capabilities), queryTokensMax: capabilities.queryTokensMax ?? 1 },
    ...{ requestsMax: space.requestsMax, kvHeadsMax: space.kvHeadsMax },
    tokensMax: Math.min(space.tokensMax, capabilities.tokensMax),
    multiplyAddsMax: space.multiplyAddsMax,
  };
  return new Widened(
    new Drawn(problem, capabilities, {
      ...space,
      problem,
      deepTokensMax: Math.min(space.deepTokensMax, capabilities.tokensMax),
      longTokensMax: Math.min(space.longTokensMax, capabilities.tokensMax),
      paged: capabilities.paged === true,
      append: capabilities.append === true,
    }),
    anyCase,
  );
}

/** The case with fewer splits where it would start too many blocks. */
function affordable(c: Case): Case {
  const rows = queryRowCount(c.problem);
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
    private readonly space: RecipeSpace & RareSpace & Pick<CaseSpace, 'rareOneIn' | 'always'>,
  ) {
    super();
  }

  override generate(random: fc.Random, bias: number | undefined): fc.Value<Case> {
    const { problem, capabilities, space } = this;
    const thin = drawSwarm(random);
    const { formats } = capabilities;
    const drawn = records(problem, formats, space, capabilities, thin).generate(random, bias);
    const possible = fitted(random, drawn.value, capabilities, problem.multiplyAddsMax);
    const whole = inMultiples(
      appendedAtRecords(random, related(random, possible, space)),
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
