// problemArbitrary: shapes. request-mix.ts draws the lengths; query heads per KV head include the
// awkward ones (3, 5, 6, 7, 12) and both sides of every tile; a budget in multiply-adds keeps a
// case cheap.
//
// Inside, a problem is a record {tokens, kvHeads, ratio, headSize}, because queryHeads must stay a
// multiple of kvHeads while it shrinks. The map back is exact, so a stored problem shrinks too.

import fc from 'fast-check';
import type { ElementType } from '../../reference/format.js';
import {
  elementType,
  type Problem,
  queryTokenCount,
  queryTokensMax,
} from '../../reference/problem.js';
import { multiplyAdds } from '../case.js';
import { LIMITS } from '../parse-case.js';
import { Lengths } from './lengths.js';
import { edgeLengths, requestMix } from './request-mix.js';
import { type Thin, wholeSwarm } from './swarm.js';
import { Choice, Whole, weighted } from './whole.js';

export interface ProblemSpace {
  readonly requestsMax: number;
  /** Of one request. */
  readonly tokensMax: number;
  readonly kvHeadsMax: number;
  /** Query heads per KV head. */
  readonly ratioMax: number;
  /** Simplest first. */
  readonly headSizes: readonly number[];
  /** Simplest first; fp16 unless given. */
  readonly types?: readonly ElementType[];
  /** 1 unless given. */
  readonly queryTokensMax?: number;
  /** Sizes where behaviour changes. */
  readonly tiles: readonly number[];
  readonly multiplyAddsMax: number;
  /** Features of this draw; all of them unless given. */
  readonly thin?: Thin;
}

/** All that parseCase accepts: for shrinking cases that were not generated here. */
export const anyProblem: ProblemSpace = {
  requestsMax: LIMITS.requests,
  tokensMax: LIMITS.tokens,
  kvHeadsMax: LIMITS.heads,
  ratioMax: LIMITS.heads,
  headSizes: [128, 64, 256],
  types: ['fp16', 'bf16'],
  queryTokensMax,
  tiles: [8, 16, 128],
  multiplyAddsMax: Number.POSITIVE_INFINITY,
};

const RATIOS = [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32, 64];
const RATIO_WEIGHTS = [12, 8, 6, 8, 4, 4, 4, 8, 3, 3, 1, 1, 1];
const KV_HEADS = [1, 2, 3, 4, 5, 8];
const KV_HEAD_WEIGHTS = [6, 6, 3, 3, 1, 1];
const QUERY_TOKENS = [1, 2, 3, 4, 5, 6, 7, 8];
const QUERY_TOKEN_WEIGHTS = [8, 3, 2, 2, 1, 1, 1, 2];
const TYPE_WEIGHTS = { fp16: 2, bf16: 1 } as const;

/** The usual ratios and, less often, those on both sides of a tile that query heads may fill. */
function ratioTable(
  tiles: readonly number[],
  ratioMax: number,
): { ratio: number; weight: number }[] {
  const usual = RATIOS.map((ratio, i) => ({ ratio, weight: RATIO_WEIGHTS[i] }));
  const edges = tiles
    .flatMap((tile) => [tile - 1, tile + 1])
    .filter((ratio) => ratio > 0 && !RATIOS.includes(ratio))
    .map((ratio) => ({ ratio, weight: 1 }));
  const inRange = [...usual, ...edges].filter(({ ratio }) => ratio <= ratioMax);
  return inRange.sort((a, b) => a.ratio - b.ratio);
}

interface Shape {
  readonly tokens: number[];
  readonly kvHeads: number;
  readonly ratio: number;
  readonly headSize: number;
  readonly queryTokens: number;
  readonly type: ElementType;
}

export function problemArbitrary(space: ProblemSpace): fc.Arbitrary<Problem> {
  const { requestsMax, tokensMax, kvHeadsMax, ratioMax, headSizes, tiles } = space;
  const thin = space.thin ?? wholeSwarm;
  const types = space.types ?? ['fp16'];
  const edges = edgeLengths(tiles, tokensMax);
  const length = new Whole({ min: 0, max: tokensMax, edges });
  const table = ratioTable(tiles, ratioMax);
  const ratios = table.map(({ ratio }) => ratio);
  const ratioWeights = thin(table.map(({ weight }) => weight));
  const kvHeadWeights = thin(KV_HEAD_WEIGHTS);
  const shape: fc.Arbitrary<Shape> = fc.record(
    {
      tokens: new Lengths(length, requestMix({ tiles, tokensMax, requestsMax, thin })),
      kvHeads: new Whole({
        ...{ min: 1, max: kvHeadsMax, edges: [1, 2, 3] },
        draw: (random) => weighted(random, KV_HEADS, kvHeadWeights),
      }),
      ratio: new Whole({
        ...{ min: 1, max: ratioMax, edges: ratios },
        draw: (random) => weighted(random, ratios, ratioWeights),
      }),
      headSize: new Choice(
        headSizes,
        headSizes.map(() => 1),
        (value) => Number.isInteger(value),
      ),
      queryTokens: queryTokensOf(space, thin),
      type: new Choice<ElementType>(
        types,
        types.length === 1 ? null : thin(types.map((type) => TYPE_WEIGHTS[type])),
        (value) => value === 'fp16' || value === 'bf16',
      ),
    },
    { noNullPrototype: true },
  );
  return shape.map((x) => withinBudget(problemOf(x), space.multiplyAddsMax), shapeOf);
}

/** Query tokens up to what is declared; what is not is never drawn, but shrinks. */
function queryTokensOf({ queryTokensMax: max = 1 }: ProblemSpace, thin: Thin): Whole {
  const allowed = QUERY_TOKENS.filter((n) => n <= max);
  const weights = max === 1 ? [1] : thin(QUERY_TOKEN_WEIGHTS.slice(0, allowed.length));
  const draw = (random: fc.Random) => (max === 1 ? 1 : weighted(random, allowed, weights));
  return new Whole({ min: 1, max: queryTokensMax, draw });
}

function problemOf({ tokens, kvHeads, ratio, headSize, queryTokens, type }: Shape): Problem {
  return {
    ...{ tokens, queryHeads: kvHeads * ratio, kvHeads, headSize },
    ...(queryTokens === 1 ? {} : { queryTokens }),
    ...(type === 'fp16' ? {} : { type }),
  };
}

/** The inverse of problemOf; throws for what is no problem, as fast-check asks of an unmapper. */
function shapeOf(value: unknown): Shape {
  const p = value as Problem;
  const { queryHeads, kvHeads, headSize } = p;
  if (!Array.isArray(p.tokens) || !Number.isInteger(queryHeads / kvHeads)) {
    throw new TypeError('problem: not a problem');
  }
  const [queryTokens, type] = [queryTokenCount(p), elementType(p)];
  const ratio = queryHeads / kvHeads;
  return { tokens: [...p.tokens], kvHeads, ratio, headSize, queryTokens, type };
}

/**
 * The same problem if it is cheap enough, else one with fewer requests, KV heads, query heads,
 * query tokens and at last tokens, in this order: a problem within the budget is its own image, so
 * the map stays exact.
 */
export function withinBudget(p: Problem, multiplyAddsMax: number): Problem {
  let { tokens, kvHeads } = p;
  let ratio = p.queryHeads / kvHeads;
  let queryTokens = queryTokenCount(p);
  const problem = (): Problem => {
    const { queryTokens: _n, ...rest } = p;
    const many = queryTokens === 1 ? {} : { queryTokens };
    return { ...rest, tokens, kvHeads, queryHeads: kvHeads * ratio, ...many };
  };
  while (multiplyAdds(problem()) > multiplyAddsMax) {
    if (tokens.length > 1) tokens = tokens.slice(0, -1);
    else if (kvHeads > 1) kvHeads = Math.floor(kvHeads / 2);
    else if (ratio > 1) ratio = Math.floor(ratio / 2);
    else if (queryTokens > 1) queryTokens = Math.floor(queryTokens / 2);
    else tokens = [Math.floor(multiplyAddsMax / (2 * p.headSize))];
  }
  return problem();
}
