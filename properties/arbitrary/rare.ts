// rare: shapes that cost more than others or that independent draws hardly ever hit, each for a
// number in a kernel that only shows when something is used up: the slots of a ring, the entries of
// a table of requests, the warps of a block in each of several splits, the bits of a small integer.

import type fc from 'fast-check';
import { caseSchemeError } from '../../reference/formats/case-scheme.js';
import { type Problem, queryTokenCount } from '../../reference/problem.js';
import { recordTokens } from '../../reference/scheme.js';
import { type Case, multiplyAdds, type PageOptions } from '../case.js';
import type { ProblemSpace } from './problem.js';

export const RARE_KINDS = ['deep', 'crowd', 'steps', 'split', 'shared', 'wide', 'long'] as const;
export type RareKind = (typeof RARE_KINDS)[number];

/** Requests of a crowd: beside powers of two, which tables, warps and grids are made for. */
export const CROWDS = [31, 32, 33, 34, 40, 63, 64, 65, 96, 97, 128, 129];
/** What the requests of a crowd hold: mostly a part of a window, sometimes a record. */
const CROWD_TOKENS = [0, 1, 2, 31, 127, 128, 128, 129, 130];
/** KV heads of a crowd: with several of them its requests are a few tokens long. */
const CROWD_HEADS = [1, 1, 1, 8];
const FEW_TOKENS = [1, 2, 3];
/** Requests then: each has a block for every head, and a block is what an emulator pays for. */
const CROWDS_OF_HEADS = [33, 34, 40];
/** Steps of a crowd that is appended to: its records fill up together, or soon. */
const CROWD_STEPS = [1, 2, 3];
/** Times the largest tile: what a block works through before every buffer was used again. */
const DEPTHS = [2, 3, 4, 5, 8];
/** Records of each of two or three splits: more than two warps of a block add to one result. */
const SPLIT_RECORDS = [3, 4, 5, 6];
/** The lanes of a warp share a row's partial results in a merge. */
const LANES = 32;
/** Few, and around those lanes. */
const SPLITS = [2, 3, LANES, LANES + 1];
/** KV heads of a wide case: their window takes more than 16 bits of elements, or of bytes. */
const WIDE_HEADS = [4, 5, 8];
/** Lengths that take more than 16 bits, with and without a tail, and the last that does not. */
const LONG = [2 ** 16, 2 ** 16 + 1, 2 ** 16 + 128, 2 ** 16 + 131, 2 ** 16 + 256];
const LONGEST_THAT_FITS = 2 ** 16 - 1;
/** 129 splits of 512 records: their product takes more than 16 bits too. */
const LONG_SPLITS = [0, 1, 4, 129];
/** A long request takes so many times the budget of another case, in one query head. */
export const LONG_BUDGETS = 9;

export interface RareSpace {
  readonly problem: ProblemSpace;
  /** Of the request of a deep case. */
  readonly deepTokensMax: number;
  /** Of any request. */
  readonly longTokensMax: number;
  readonly paged: boolean;
  readonly append: boolean;
}

const pick = (random: fc.Random, from: readonly number[]): number =>
  from[random.nextInt(0, from.length - 1)];

/** The case in the shape of a kind; as it is where that is too dear. */
export function rareCase(random: fc.Random, c: Case, kind: RareKind, space: RareSpace): Case {
  switch (kind) {
    case 'deep':
      return deep(random, c, space);
    case 'crowd':
      return crowd(random, c, space, false);
    case 'steps':
      return crowd(random, c, space, space.append);
    case 'split':
      return split(random, c, space);
    case 'shared':
      return shared(random, c, space);
    case 'wide':
      return wide(random, c, space.problem);
    case 'long':
      return long(random, c, space);
  }
}

/**
 * One request of many KV heads whose window is nearly full, with a record before it if the budget
 * has room: offsets from head to head and from token to token are as large as they get.
 */
function wide(random: fc.Random, c: Case, space: ProblemSpace): Case {
  const { queryTokens: _n, ...rest } = c.problem;
  const kvHeads = Math.min(pick(random, WIDE_HEADS), space.kvHeadsMax);
  const tail = recordTokens - random.nextInt(1, recordTokens >> 2);
  const wanted = [tail + recordTokens * random.nextInt(0, 1), tail];
  const shapes = headSizesFrom(c, space).flatMap((headSize) =>
    wanted.map((n) => ({ ...rest, headSize, kvHeads, queryHeads: kvHeads, tokens: [n] })),
  );
  const problem = shapes.find(
    (p) => p.tokens[0] <= space.tokensMax && multiplyAdds(p) <= space.multiplyAddsMax,
  );
  return problem === undefined ? c : { ...c, problem };
}

/**
 * The head size of the case, then smaller ones, largest first, that its scheme goes with; no other
 * where a tensor comes from the real cache, which has one head size.
 */
function headSizesFrom(c: Case, { headSizes }: ProblemSpace): number[] {
  const own = c.problem.headSize;
  const isReal = Object.values(c.tensors).some(({ distribution }) => distribution === 'code-lm');
  return headSizes
    .filter((headSize) => (isReal ? headSize === own : headSize <= own))
    .filter((headSize) => caseSchemeError(c.scheme, { ...c.problem, headSize }) === null)
    .sort((a, b) => b - a);
}

/**
 * Many short requests, with few KV heads and a query head or two for each, so that there can be
 * more blocks than multiprocessors; two thirds of them behind a page table, and half of these in
 * steps; all of them if `inSteps`.
 */
function crowd(random: fc.Random, c: Case, space: RareSpace, inSteps: boolean): Case {
  const { tokensMax, ratioMax, multiplyAddsMax } = space.problem;
  const kvHeads = pick(random, CROWD_HEADS);
  const lengths = kvHeads > 1 ? FEW_TOKENS : CROWD_TOKENS;
  const few = [pick(random, lengths), pick(random, lengths)];
  const count = pick(random, kvHeads > 1 ? CROWDS_OF_HEADS : CROWDS);
  const tokens = Array.from({ length: count }, () => Math.min(pick(random, few), tokensMax));
  const queryHeads = kvHeads * random.nextInt(1, Math.min(2, ratioMax));
  const splits = kvHeads > 1 ? 0 : pick(random, [0, 1, 2, 2, 3]);
  const heads = [
    { queryHeads, kvHeads },
    { queryHeads: queryHeads / kvHeads, kvHeads: 1 },
  ];
  const shapes = headSizesFrom(c, space.problem).flatMap((headSize) =>
    heads.map((some) => ({ ...c.problem, tokens, headSize, ...some })),
  );
  const [problem] = shapes.flatMap((shape) => affordable(shape, multiplyAddsMax) ?? []);
  if (problem === undefined) return c;
  const { pages: _p, appended: _a, ...options } = c.options;
  const isPaged = inSteps || (space.paged && random.nextInt(0, 2) !== 0);
  const isAppended = inSteps || (space.append && isPaged && random.nextInt(0, 1) === 0);
  return {
    ...c,
    problem,
    options: {
      ...options,
      splits,
      ...(isPaged ? { pages: shuffledPages(random, random.nextInt(0, 1)) } : {}),
      ...(isAppended ? { appended: pick(random, CROWD_STEPS) } : {}),
    },
  };
}

/** The problem, with one query token if it would be too dear; null if it is even so. */
function affordable(problem: Problem, multiplyAddsMax: number): Problem | null {
  const { queryTokens: _n, ...plain } = problem;
  return [problem, plain].find((p) => multiplyAdds(p) <= multiplyAddsMax) ?? null;
}

function shuffledPages(random: fc.Random, sharedRecords: number): PageOptions {
  const seed = random.nextInt(0, 0x7fffffff);
  return { order: 'shuffled', seed, spare: random.nextInt(0, 2), sharedRecords };
}

/**
 * A few requests that begin alike and share the pages of that beginning, as on a server that keeps
 * its prompts; sometimes the last record is filled in steps, by several of them at once.
 */
function shared(random: fc.Random, c: Case, space: RareSpace): Case {
  if (!space.paged) return c;
  const records = random.nextInt(1, 3);
  const isAppended = space.append && random.nextInt(0, 1) === 0;
  const length = () => {
    const more = isAppended ? 0 : random.nextInt(0, 2);
    const tail = isAppended ? 0 : random.nextInt(0, 1) * random.nextInt(0, recordTokens - 1);
    return Math.min((records + more) * recordTokens + tail, space.problem.tokensMax);
  };
  const tokens = Array.from({ length: random.nextInt(2, 3) }, length);
  const queryHeads = random.nextInt(1, Math.min(2, space.problem.ratioMax));
  const given = { ...c.problem, tokens, queryHeads, kvHeads: 1 };
  const problem = affordable(given, space.problem.multiplyAddsMax);
  if (problem === null) return c;
  const { appended: _a, ...options } = c.options;
  const pages = shuffledPages(random, random.nextInt(1, records));
  const steps = isAppended ? { appended: pick(random, CROWD_STEPS) } : {};
  return { ...c, problem, options: { ...options, pages, ...steps } };
}

/**
 * One request so long, and in one split, that a block goes several times through everything it
 * uses in turn (slots of a ring, phases of a barrier).
 */
function deep(random: fc.Random, c: Case, { problem: space, deepTokensMax }: RareSpace): Case {
  const largest = Math.max(recordTokens, ...space.tiles);
  const depth = DEPTHS[random.nextInt(0, DEPTHS.length - 1)];
  const tokens = depth * largest + random.nextInt(-1, 1) * random.nextInt(0, recordTokens);
  const splits = random.nextInt(1, 2);
  return alone(random, c, space, Math.min(tokens, deepTokensMax), splits);
}

/**
 * One request in two or three splits, each of them more than two records, often with a tail; or in
 * so many that a warp or two merge them, and one more, none of them empty.
 */
function split(random: fc.Random, c: Case, { problem: space, deepTokensMax }: RareSpace): Case {
  const splits = pick(random, SPLITS);
  const each = splits < LANES ? pick(random, SPLIT_RECORDS) : 1;
  const records = splits * each + random.nextInt(0, 1);
  const tail = random.nextInt(0, 1) * random.nextInt(1, recordTokens - 1);
  return alone(random, c, space, Math.min(records * recordTokens + tail, deepTokensMax), splits);
}

/** One request with one or two query heads, to stay in the budget, and cut where it does not. */
function alone(
  random: fc.Random,
  c: Case,
  space: ProblemSpace,
  tokens: number,
  splits: number,
): Case {
  const perPair = 2 * c.problem.headSize * queryTokenCount(c.problem);
  const pairsMax = Math.floor(space.multiplyAddsMax / perPair);
  const length = Math.min(tokens, pairsMax);
  const queryHeads = 2 * length <= pairsMax ? random.nextInt(1, Math.min(2, space.ratioMax)) : 1;
  const problem = { ...c.problem, tokens: [length], queryHeads, kvHeads: 1 };
  return { ...c, problem, options: { ...c.options, splits } };
}

/** One request whose length takes more than 16 bits, in the largest heads that are not too dear. */
function long(random: fc.Random, c: Case, { problem: space, longTokensMax }: RareSpace): Case {
  const fits = random.nextInt(0, 7) === 0;
  const tokens = fits ? LONGEST_THAT_FITS : pick(random, LONG);
  const splits = pick(random, LONG_SPLITS);
  if (tokens > longTokensMax) return c;
  const { queryTokens: _n, ...rest } = c.problem;
  const problem = headSizesFrom(c, space)
    .map((headSize) => ({ ...rest, headSize, tokens: [tokens], queryHeads: 1, kvHeads: 1 }))
    .find((p) => multiplyAdds(p) <= LONG_BUDGETS * space.multiplyAddsMax);
  return problem === undefined ? c : { ...c, problem, options: { ...c.options, splits } };
}
