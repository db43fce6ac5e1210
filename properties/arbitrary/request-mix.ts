// requestMix: the lengths of the requests of one case, drawn where a kernel's behaviour changes.
//
// Single lengths: tiny; one below, at and one above multiples of every tile that the kernel
// declares; some records and, behind them, an edge of a smaller tile, because the tail is worked on
// in other steps than the records; and anything over all magnitudes. Together they form a mix:
// unrelated, all equal, one long beside tiny ones, a ladder of neighbours, empty ones between. What
// is drawn here needs no inverse: lengths.ts shrinks any list.

import type fc from 'fast-check';
import { recordTokens } from '../../reference/scheme.js';
import type { Thin } from './swarm.js';
import { weighted } from './whole.js';

export interface MixSpace {
  /** Sizes where behaviour changes. */
  readonly tiles: readonly number[];
  readonly tokensMax: number;
  readonly requestsMax: number;
  readonly thin: Thin;
}

type Draw = (random: fc.Random) => number;
type Mix = (random: fc.Random, count: number, length: Draw, tokensMax: number) => number[];

/**
 * Multiples of a tile that get neighbours: the first ones, and one where many records are in
 * flight.
 */
const MULTIPLES = [1, 2, 3, 4, 8];
const TINY = [0, 1, 2, 3];
/** Records before a tail: enough for every stage of a ring and every warp of a block. */
const RECORDS_MAX = 9;

/** Lengths at and next to multiples of the tiles, ascending, each once. */
export function edgeLengths(tiles: readonly number[], tokensMax: number): number[] {
  const around = tiles.flatMap((tile) =>
    MULTIPLES.flatMap((n) => [n * tile - 1, n * tile, n * tile + 1]),
  );
  const inRange = [...TINY, ...around].filter((n) => n <= tokensMax);
  return [...new Set(inRange)].sort((a, b) => a - b);
}

const pick = (random: fc.Random, from: readonly number[]): number =>
  from[random.nextInt(0, from.length - 1)];

/** In the order of LENGTH_WEIGHTS. */
function lengthKinds({ tiles, tokensMax }: MixSpace): Draw[] {
  const edges = edgeLengths(tiles, tokensMax);
  const tails = edgeLengths(
    tiles.filter((tile) => tile < recordTokens),
    recordTokens - 1,
  );
  const recordsMax = Math.min(RECORDS_MAX, Math.floor(tokensMax / recordTokens));
  const bitsMax = Math.ceil(Math.log2(tokensMax + 1));
  return [
    (random) => Math.min(pick(random, TINY), tokensMax),
    (random) => pick(random, edges),
    (random) => {
      const tokens = random.nextInt(0, recordsMax) * recordTokens + pick(random, tails);
      return Math.min(tokens, tokensMax);
    },
    (random) => Math.min(random.nextInt(0, 2 ** random.nextInt(1, bitsMax) - 1), tokensMax),
  ];
}

const LENGTH_WEIGHTS = [3, 4, 4, 5];

/** In the order of MIX_WEIGHTS. */
const MIXES: readonly Mix[] = [
  (random, count, length) => Array.from({ length: count }, () => length(random)),
  (random, count, length) => new Array<number>(count).fill(length(random)),
  (random, count, length, tokensMax) => {
    const lengths = Array.from({ length: count }, () => Math.min(pick(random, TINY), tokensMax));
    lengths[random.nextInt(0, count - 1)] = length(random);
    return lengths;
  },
  (random, count, length, tokensMax) => {
    const first = length(random);
    return Array.from({ length: count }, (_, i) => Math.min(first + i, tokensMax));
  },
  (random, count, length) => {
    const parity = random.nextInt(0, 1);
    return Array.from({ length: count }, (_, i) => ((i & 1) === parity ? 0 : length(random)));
  },
];

const MIX_WEIGHTS = [6, 1, 2, 1, 1];

/** Draws the lengths of 1 to requestsMax requests. */
export function requestMix(space: MixSpace): (random: fc.Random) => number[] {
  const kinds = lengthKinds(space);
  const lengthWeights = space.thin(LENGTH_WEIGHTS);
  const mixWeights = space.thin(MIX_WEIGHTS);
  const length: Draw = (random) => weighted(random, kinds, lengthWeights)(random);
  return (random) => {
    const count = random.nextInt(1, space.requestsMax);
    return weighted(random, MIXES, mixWeights)(random, count, length, space.tokensMax);
  };
}
