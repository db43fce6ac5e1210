// plan.ts - which cases a run consists of, decided before anything runs.
//
// First the stored cases (what failed once), then the real cache, then generated ones; a run that a
// time may end takes the last two in turn. The plan is a function of the corpus, of the kernel's
// capabilities, of the seed and of the number of cases; a time becomes a number by a nominal rate
// for the kind of kernel, so that equal seeds and equal times give equal cases on a fast machine
// and on a slow one.

import type * as fc from 'fast-check';
import { type CaseSpace, caseArbitrary, defaultSpace } from '../../properties/arbitrary/case.js';
import { type Case, caseHash } from '../../properties/case.js';
import { keyOf, word } from '../../properties/generator.js';
import type { Capabilities } from '../../properties/kernel.js';
import type { StoredCase } from './case-file.js';
import { realCacheCases } from './real-cache.js';
import { drawAt, type Seed } from './seed.js';

/**
 * What may be generated: the real cache is at hand here, and NaN in K or V is a state of the world.
 */
export const CASE_SPACE = { codeLm: true, nonFinite: true } as const;

/** Multiplications and additions of one pair of a token and a query head of 128 channels. */
const PAIR = 2 * 128;
/** Pairs that a generated case has at most, where nobody says another number. */
export const PAIRS_MAX = defaultSpace.multiplyAddsMax / PAIR;

/** What may be generated with so many pairs; rare kinds that need more of them are not drawn. */
export function spaceOfPairs(pairsMax: number): Partial<CaseSpace> {
  return { ...CASE_SPACE, multiplyAddsMax: PAIR * pairsMax };
}

export interface PlannedCase {
  readonly index: number;
  /** "generated", "real-cache", or the path of a stored case. */
  readonly origin: string;
  readonly case: Case;
  readonly hash: string;
  /** The native reference judges it first, with others (sweep.ts). */
  readonly swept?: true;
}

export interface PlanOptions {
  readonly stored: readonly StoredCase[];
  readonly realCache: boolean;
  readonly capabilities: Capabilities;
  readonly arbitrary: fc.Arbitrary<Case>;
  readonly seed: Seed;
  readonly generated: number;
  /** One generated case in so many comes from `arbitrary`, the others are swept; absent: all. */
  readonly sweep?: { readonly fullOneIn: number; readonly arbitrary: fc.Arbitrary<Case> };
}

export interface Plan {
  readonly length: number;
  /** How many cases are of each origin. */
  readonly stored: number;
  readonly realCache: number;
  readonly generated: number;
  /** Generated cases are drawn when they are asked for: a night's plan has millions of them. */
  at(index: number): PlannedCase;
}

export function planCases(options: PlanOptions): Plan {
  const fixed: PlannedCase[] = [];
  const hashes = new Set<string>();
  const add = (origin: string, c: Case) => {
    const hash = caseHash(c);
    if (hashes.has(hash)) return;
    hashes.add(hash);
    fixed.push({ index: fixed.length, origin, case: c, hash });
  };
  for (const { path, case: c } of options.stored) add(path, c);
  const stored = fixed.length;
  for (const c of options.realCache ? realCacheCases(options.capabilities) : []) {
    add('real-cache', c);
  }
  return {
    length: fixed.length + options.generated,
    stored,
    realCache: fixed.length - stored,
    generated: options.generated,
    at(index) {
      if (index < fixed.length) return fixed[index];
      const place = index - fixed.length;
      const { sweep, seed, arbitrary } = options;
      if (sweep === undefined || isFull(place, sweep.fullOneIn)) {
        const c = drawAt(arbitrary, seed, place);
        return { index, origin: 'generated', case: c, hash: caseHash(c) };
      }
      const c = drawAt(sweep.arbitrary, seed, place);
      return { index, origin: 'generated', case: c, hash: caseHash(c), swept: true };
    },
  };
}

/**
 * The same cases, those of the real cache and generated ones in turn, so that a run that its time
 * ends early has had both: on two cores the real cache alone fills a minute. Not for a campaign,
 * whose order must be the same when it goes on with more cases.
 */
export function inTurn(plan: Plan): Plan {
  const { stored, realCache, generated } = plan;
  const both = 2 * Math.min(realCache, generated);
  return {
    ...plan,
    at(index) {
      const turn = index - stored;
      if (turn >= 0 && turn < both) {
        const place = stored + (turn >> 1) + (turn % 2 === 0 ? 0 : realCache);
        return { ...plan.at(place), index };
      }
      const isReal = turn >= both && realCache > generated;
      return { ...plan.at(isReal ? index - generated : index), index };
    },
  };
}

/** Stream of the generator that places the full cases of a sweep: in no step with any shard. */
const FULL = keyOf(0x66756c6c, 0);

function isFull(place: number, oneIn: number): boolean {
  return word(FULL, place) % oneIn === 0;
}

/** Cases that the native reference can judge: tensors from recipes, tokens all at once. */
export function sweepArbitrary(
  capabilities: Capabilities,
  space: Partial<CaseSpace>,
): fc.Arbitrary<Case> {
  return caseArbitrary({ ...capabilities, append: false }, { ...space, codeLm: false });
}

/**
 * Cases per second and worker that a time is turned into. Nominal, not measured at run time: a rate
 * taken from the clock would make the set of cases depend on the machine. Set so that a planned
 * minute takes about 40 s on two cores of 2.1 GHz.
 */
const RATES = { device: 4, emulated: 1, checked: 0.4 } as const;

export function casesFor(seconds: number, workers: number, capabilities: Capabilities): number {
  const kind = !capabilities.emulated ? 'device' : capabilities.checked ? 'checked' : 'emulated';
  return Math.max(1, Math.floor(seconds * workers * RATES[kind]));
}
