// hunt-plan.ts - the order in which cases are tried on a mutant: what kills soon comes first.
//
// A gate runs what failed before and then anything; a score wants the first kill. Six kills in
// seven come from a first look at a case, which takes a quarter of the time that all relations
// take, so five cases in six get no more: an ordinary case of every width and head size in turn
// with hand-written seeds; small draws, because nearly all bugs show in small cases if these are
// diverse, and small ones cost least; and draws of the full space and of every rare kind in turn
// (properties/arbitrary/rare.ts). The sixth is judged by all.
//
// A draw is the best of several (spread.ts): most of what none of the plan had yet.
//
// The order is a function of the seed and of what the kernel declares, so every mutant of an
// architecture meets the same cases. The checked build draws others than the plain one: it sees
// what that sees, and there is no use in seeing it twice. It starts with the ordinary shapes, and
// seeds it takes from the last to the first: a minute is over before either build has run them all.

import { join } from 'node:path';
import type * as fc from 'fast-check';
import { appendedTokens } from '../../properties/appended-tokens.js';
import { caseArbitrary } from '../../properties/arbitrary/case.js';
import { type Case, caseHash } from '../../properties/case.js';
import { firstLook, propertiesFor } from '../../properties/index.js';
import { keptTokens } from '../../properties/kept-tokens.js';
import type { Capabilities } from '../../properties/kernel.js';
import { readCases } from '../campaign/case-file.js';
import { packageRoot } from '../campaign/package-root.js';
import { CASE_SPACE, type PlannedCase } from '../campaign/plan.js';
import { realCacheCases } from '../campaign/real-cache.js';
import { drawAt, type Seed } from '../campaign/seed.js';
import { ordinaryCases } from './ordinary-case.js';
import type { Build } from './result.js';
import { Spread } from './spread.js';

/** About 1,000 pairs of a token and a query head: 10 ms a run on the emulator. */
const SMALL = { multiplyAddsMax: 2 ** 18, tokensMax: 520, requestsMax: 4, kvHeadsMax: 3 } as const;
/** Kinds of full draws in turn; null: as a campaign draws them. */
const FULL_KINDS = [
  ...([null, 'crowd', 'split', 'shared', 'long', 'deep', 'steps'] as const),
  ...([null, 'wide', 'crowd', 'shared', 'long', 'steps', 'split'] as const),
];
/** Beyond any number of cases that a score runs: no two kinds of draws ever share a stream. */
const FULL_FROM = 1 << 24;
const CHECKED_FROM = 1 << 25;
/** Cases of a turn: one for all properties, three fixed ones, a full draw and a small one. */
const TURN = 6;
const FIXED_PLACES = [1, 2, 4];
const FULL_PLACE = 3;
/** Draws of which one is run. */
const DRAWS = 8;

export interface HuntedCase extends PlannedCase {
  /** Names of the properties that judge it; null: all. */
  readonly properties: readonly string[] | null;
}

interface Choice {
  readonly origin: string;
  readonly case: Case;
}

const FIRST_LOOK = firstLook.map(({ name }) => name);

/** What needs no second run of another shape, and the relation that an option is there for. */
export function firstLookOf({ options }: Case): string[] {
  const names = [...FIRST_LOOK];
  if ((options.pages?.sharedRecords ?? 0) > 0) names.push(keptTokens.name);
  if ((options.appended ?? 0) > 0) names.push(appendedTokens.name);
  return names;
}

export class HuntPlan {
  private readonly small;
  private readonly full: readonly fc.Arbitrary<Case>[];
  /** Those that all properties judge: a long one takes seconds a run. */
  private readonly fullOfAll: readonly fc.Arbitrary<Case>[];
  private readonly fixed: readonly Choice[];
  private readonly drawsFrom: number;
  private readonly spread = new Spread();
  /** From the first case on: which draw is best depends on those before. */
  private readonly known: HuntedCase[] = [];

  constructor(
    readonly capabilities: Capabilities,
    private readonly seed: Seed,
    build: Build,
  ) {
    this.small = caseArbitrary(capabilities, { ...CASE_SPACE, ...SMALL });
    this.full = FULL_KINDS.map((kind) =>
      caseArbitrary(capabilities, { ...CASE_SPACE, ...(kind === null ? {} : { always: kind }) }),
    );
    this.fullOfAll = this.full.filter((_, i) => FULL_KINDS[i] !== 'long');
    const first = build === 'checked' ? shapesFirst(capabilities) : ordinaryFirst(capabilities);
    this.fixed = [...first, ...realCases(capabilities)];
    this.drawsFrom = build === 'checked' ? CHECKED_FROM : 0;
  }

  at(index: number): HuntedCase {
    while (this.known.length <= index) this.known.push(this.next(this.known.length));
    return this.known[index];
  }

  /** Of six cases the first is judged by all properties. */
  private next(index: number): HuntedCase {
    const turn = Math.floor(index / TURN);
    const place = index % TURN;
    if (place === 0) return this.judgedByAll(index, this.whole(turn, index));
    const chosen = this.lookedAt(place, turn, index);
    return { ...planned(index, chosen), properties: firstLookOf(chosen.case) };
  }

  private lookedAt(place: number, turn: number, index: number): Choice {
    if (place === FULL_PLACE) return this.drawFull(turn, index);
    const nth = FIXED_PLACES.indexOf(place);
    const chosen = nth < 0 ? null : this.fixedAt(FIXED_PLACES.length * turn + nth);
    return chosen ?? (place === 2 ? this.drawFull(turn, index) : this.drawSmall(index));
  }

  /** Fixed ones in between small and full ones. */
  private whole(turn: number, index: number): Choice {
    if (turn & 1) return this.fixedOrFull(turn >> 1, index);
    if ((turn & 2) === 0) return this.drawSmall(index);
    return this.drawFull(turn >> 2, index, this.fullOfAll);
  }

  private judgedByAll(index: number, chosen: Choice): HuntedCase {
    const isDrawn = chosen.origin === 'generated';
    const properties = isDrawn ? propertiesFor(chosen.case).map(({ name }) => name) : null;
    return { ...planned(index, chosen), properties };
  }

  private drawSmall(index: number): Choice {
    return this.draw(this.small, this.drawsFrom + index);
  }

  private drawFull(turn: number, index: number, kinds = this.full): Choice {
    return this.draw(kinds[turn % kinds.length], this.drawsFrom + FULL_FROM + index);
  }

  private draw(cases: fc.Arbitrary<Case>, place: number): Choice {
    const draws = Array.from({ length: DRAWS }, (_, i) =>
      drawAt(cases, this.seed, DRAWS * place + i),
    );
    return { origin: 'generated', case: this.spread.best(draws) };
  }

  private fixedAt(turn: number): Choice | null {
    const chosen = this.fixed[turn] ?? null;
    if (chosen !== null) this.spread.add(chosen.case);
    return chosen;
  }

  private fixedOrFull(turn: number, index: number): Choice {
    return this.fixedAt(turn) ?? this.drawFull(turn, index);
  }
}

/**
 * Plans by what a kernel declares and by build. Mutants that declare the same share one: to draw it
 * costs several milliseconds a case.
 */
export class HuntPlans {
  private readonly plans = new Map<string, HuntPlan>();

  constructor(private readonly seed: Seed) {}

  of(capabilities: Capabilities, build: Build): HuntPlan {
    const key = `${build} ${JSON.stringify(capabilities)}`;
    const plan = this.plans.get(key) ?? new HuntPlan(capabilities, this.seed, build);
    this.plans.set(key, plan);
    return plan;
  }
}

function planned(index: number, { origin, case: c }: Choice): PlannedCase {
  return { index, origin, case: c, hash: caseHash(c) };
}

const ordinary = (c: Case): Choice => ({ origin: 'ordinary', case: c });

/** The widths of one head size, shapes, the other head sizes; in turn with seeds. */
function ordinaryFirst(capabilities: Capabilities): Choice[] {
  const { widths, shapes } = ordinaryCases(capabilities);
  const [first = [], ...others] = widths;
  return inTurn([...first, ...shapes, ...others.flat()].map(ordinary), seedCases());
}

/** Shapes, in which accesses go astray; seeds from the last to the first; widths. */
function shapesFirst(capabilities: Capabilities): Choice[] {
  const { widths, shapes } = ordinaryCases(capabilities);
  return [...shapes.map(ordinary), ...seedCases().reverse(), ...widths.flat().map(ordinary)];
}

/** One of each list in turn, as long as both last. */
function inTurn<T>(a: readonly T[], b: readonly T[]): T[] {
  const length = Math.max(a.length, b.length);
  return Array.from({ length }, (_, i) => [...a.slice(i, i + 1), ...b.slice(i, i + 1)]).flat();
}

function seedCases(): Choice[] {
  const read = readCases(join(packageRoot(), 'corpus', 'seeds'), true);
  if (read.kind === 'error') throw new Error(read.message);
  return read.stored.map(({ path, case: c }) => ({ origin: path, case: c }));
}

/** Slices of the real cache cost ten times what a small case does: every second one. */
function realCases(capabilities: Capabilities): Choice[] {
  return realCacheCases(capabilities)
    .filter((_, i) => i % 2 === 1)
    .map((c) => ({ origin: 'real-cache', case: c }));
}
