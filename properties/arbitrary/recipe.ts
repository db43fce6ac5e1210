// recipeArbitrary: how a tensor comes to be. A record of all fields that any recipe has, mapped to
// the recipe that the chosen distribution needs, so that shrinking can step from a slice of the
// real cache to a drawn distribution and on to zeros without losing its place.
//
// Literals are never drawn, and they do not shrink: their size is tied to the shape of the problem.

import fc from 'fast-check';
import {
  CODE_LM_LAYERS,
  CODE_LM_TOKENS,
  DISTRIBUTIONS,
  type Distribution,
  isNonFinite,
  OFFSET_MAX,
  type Recipe,
  SCALE_MAX,
  SCALE_MIN,
  SEED_MAX,
} from '../recipe.js';
import { type Thin, wholeSwarm } from './swarm.js';
import { Whole, weighted } from './whole.js';

export interface RecipeSpace {
  /** Slices of the real cache may be drawn: the caller has a source for them. */
  readonly codeLm: boolean;
  /** NaN and infinities may be drawn. */
  readonly nonFinite: boolean;
  /** Features of this draw; all of them unless given. */
  readonly thin?: Thin;
}

export const anyRecipe: RecipeSpace = { codeLm: true, nonFinite: true };

/** Simplest first; the real cache is the least simple. */
const NAMES = [...DISTRIBUTIONS, 'code-lm'] as const;
type Name = (typeof NAMES)[number];

/** How often each is drawn, out of about 60: ordinary values most, then what finds layout bugs. */
const WEIGHTS: Readonly<Record<Name, number>> = {
  zero: 1,
  constant: 1,
  alternating: 1,
  'ramp-head': 1,
  'ramp-channel': 1,
  'ramp-token': 2,
  graded: 1,
  'repeated-token': 2,
  uniform: 2,
  normal: 6,
  'counter-graded': 1,
  'paired-records': 1,
  'opposite-records': 1,
  grid: 3,
  ties: 2,
  'uneven-ties': 2,
  subnormal: 1,
  'near-overflow': 1,
  'heavy-tail': 2,
  'all-exponents': 2,
  'signed-zero': 1,
  'outlier-channels': 3,
  sink: 2,
  needle: 2,
  patchwork: 6,
  binades: 6,
  'one-sided': 2,
  'huge-token': 2,
  'outlier-group': 3,
  extremes: 2,
  'non-finite': 2,
  'non-finite-groups': 2,
  'non-finite-last': 2,
  'code-lm': 5,
};

interface Fields {
  readonly name: number;
  readonly seed: number;
  readonly scale: number;
  readonly offset: number;
  readonly layer: number;
  readonly firstToken: number;
}

type Draw = (random: fc.Random) => number;

const SCALE_ENDS = [SCALE_MIN, -15, -14, SCALE_MAX - 1, SCALE_MAX];
/** Mostly 1, then near it, then the whole range with its ends. */
const SCALES: readonly Draw[] = [
  () => 0,
  (random) => random.nextInt(-4, 4),
  (random) => random.nextInt(SCALE_MIN, SCALE_MAX),
  (random) => SCALE_ENDS[random.nextInt(0, SCALE_ENDS.length - 1)],
];
const SCALE_WEIGHTS = [5, 3, 1, 1];

/** Mostly 0, then a few units, then so far that fp16 hardly resolves the range. */
const OFFSETS: readonly Draw[] = [
  () => 0,
  (random) => random.nextInt(-8, 8),
  (random) => random.nextInt(16, OFFSET_MAX) * (random.nextInt(0, 1) === 0 ? 1 : -1),
];
const OFFSET_WEIGHTS = [6, 2, 2];

export function recipeArbitrary(space: RecipeSpace): fc.Arbitrary<Recipe> {
  const allowed = NAMES.map((name, place) => ({ name, place })).filter(
    ({ name }) => (name !== 'code-lm' || space.codeLm) && (!isNonFinite(name) || space.nonFinite),
  );
  const places = allowed.map(({ place }) => place);
  const thin = space.thin ?? wholeSwarm;
  const weights = thin(allowed.map(({ name }) => WEIGHTS[name]));
  const scaleWeights = thin(SCALE_WEIGHTS);
  const offsetWeights = thin(OFFSET_WEIGHTS);
  const drawScale: Draw = (random) => weighted(random, SCALES, scaleWeights)(random);
  const drawOffset: Draw = (random) => weighted(random, OFFSETS, offsetWeights)(random);
  const fields: fc.Arbitrary<Fields> = fc.record(
    {
      name: new Whole({
        ...{ min: 0, max: NAMES.length - 1, edges: places, bisect: false },
        draw: (random) => weighted(random, places, weights),
      }),
      seed: new Whole({ min: 0, max: SEED_MAX, edges: [1, 2, 3], bisect: false }),
      scale: new Whole({ min: SCALE_MIN, max: SCALE_MAX, origin: 0, draw: drawScale }),
      offset: new Whole({ min: -OFFSET_MAX, max: OFFSET_MAX, origin: 0, draw: drawOffset }),
      layer: new Whole({ min: 0, max: CODE_LM_LAYERS - 1 }),
      firstToken: new Whole({ min: 0, max: CODE_LM_TOKENS - 1, bisect: false }),
    },
    { noNullPrototype: true },
  );
  return fields.map(recipeOf, fieldsOf);
}

function recipeOf({ name, seed, scale, offset, layer, firstToken }: Fields): Recipe {
  const distribution = NAMES[name];
  if (distribution === 'code-lm') return { distribution, layer, firstToken };
  return { distribution, seed, scale, offset };
}

/** The inverse of recipeOf, with 0 for the fields that a recipe lacks; throws for a literal. */
function fieldsOf(value: unknown): Fields {
  const recipe = value as Recipe;
  if (recipe.distribution === 'code-lm') {
    const { layer, firstToken } = recipe;
    return { name: NAMES.indexOf('code-lm'), seed: 0, scale: 0, offset: 0, layer, firstToken };
  }
  const name = DISTRIBUTIONS.indexOf(recipe.distribution as Distribution);
  if (name === -1 || recipe.distribution === 'literal') {
    throw new TypeError(`recipe: ${recipe.distribution} does not shrink`);
  }
  const { seed, scale, offset } = recipe;
  return { name, seed, scale, offset, layer: 0, firstToken: 0 };
}
