// shrink.ts - makes a failing case smaller while it keeps failing in the same way.
//
// Candidates come from the arbitrary's own shrinker, started from the stored value (not from a
// seed), so that a case which this process did not generate shrinks as well. A candidate is taken
// only if the same property fails with the same signature: without that rule a search for a small
// case walks from the bug at hand to another one. Each accepted candidate continues the shrinker's
// own search (its context); when that ends, a new pass starts from the value alone, until a pass
// takes nothing. Then much smaller shapes with other values are tried (smaller-shape.ts).
//
// Several lanes try the next candidates at the same time, and the first one in the shrinker's order
// wins, so that the result does not depend on the number of lanes, unless the time runs out.

import type * as fc from 'fast-check';
import { type Case, caseHash } from '../../properties/case.js';
import type { Failure } from '../../properties/property.js';
import { smallerShapes } from './smaller-shape.js';

export interface ShrinkOptions {
  readonly arbitrary: fc.Arbitrary<Case>;
  /** How a candidate fails in the property at hand; null: it does not. One call for each lane. */
  readonly attempts: readonly ((c: Case) => Promise<Failure | null>)[];
  /** Cases to try first, such as those that other findings of the run were shrunk to. */
  readonly hints: readonly Case[];
  /** The time is over, or there is nothing left to run candidates on. */
  readonly isOver: () => boolean;
  readonly triesMax: number;
}

export interface ShrinkResult {
  readonly case: Case;
  readonly failure: Failure;
  /** Candidates taken, and candidates run. */
  readonly steps: number;
  readonly tries: number;
  /** true: no candidate of the last pass failed in the same way; false: time or tries ran out. */
  readonly smallest: boolean;
}

interface Search {
  best: Case;
  failure: Failure;
  context: unknown;
  steps: number;
  tries: number;
  readonly tried: Set<string>;
}

/** `start` fails with `failure`, as the caller has seen. */
export async function shrinkCase(
  start: Case,
  failure: Failure,
  options: ShrinkOptions,
): Promise<ShrinkResult> {
  const tried = new Set([caseHash(start)]);
  const search: Search = { best: start, failure, context: undefined, steps: 0, tries: 0, tried };
  const size = sizeOf(start);
  const hints = options.hints.filter((hint) => sizeOf(hint) < size);
  await firstTaken(
    hints.map((hint) => ({ case: hint, context: undefined })),
    search,
    options,
  );

  let smallest = false;
  while (!smallest && !isSpent(search, options)) {
    // A value that the arbitrary cannot have made has no shrinks; the case stays as it is.
    if (!options.arbitrary.canShrinkWithoutContext(search.best)) break;
    const before = search.steps;
    search.context = undefined;
    while (await firstTaken(candidates(search, options.arbitrary), search, options));
    if (search.steps > before) continue;
    const leaps = possible(smallerShapes(search.best), options.arbitrary);
    smallest = !(await firstTaken(leaps, search, options)) && !isSpent(search, options);
  }
  const { best, steps, tries } = search;
  return { case: best, failure: search.failure, steps, tries, smallest };
}

/** Cases of another shape, as candidates, as far as they can be shrunk further. */
function* possible(cases: Iterable<Case>, arbitrary: fc.Arbitrary<Case>): Iterable<Candidate> {
  for (const c of cases) {
    if (arbitrary.canShrinkWithoutContext(c)) yield { case: c, context: undefined };
  }
}

interface Candidate {
  case: Case;
  context: unknown;
}

function* candidates(search: Search, arbitrary: fc.Arbitrary<Case>): Iterable<Candidate> {
  for (const shrunk of arbitrary.shrink(search.best, search.context)) {
    yield { case: shrunk.value, context: shrunk.context };
  }
}

/** Moves the search to the first candidate that fails in the same way; false: there is none. */
async function firstTaken(
  offered: Iterable<Candidate>,
  search: Search,
  options: ShrinkOptions,
): Promise<boolean> {
  const iterator = offered[Symbol.iterator]();
  while (!isSpent(search, options)) {
    const batch: Candidate[] = [];
    while (batch.length < options.attempts.length) {
      const next = iterator.next();
      if (next.done === true) break;
      const hash = caseHash(next.value.case);
      if (search.tried.has(hash)) continue;
      search.tried.add(hash);
      batch.push(next.value);
    }
    if (batch.length === 0) return false;
    search.tries += batch.length;
    const failures = await Promise.all(batch.map((c, lane) => options.attempts[lane](c.case)));
    const taken = failures.findIndex((f) => f?.signature === search.failure.signature);
    if (taken >= 0) {
      search.best = batch[taken].case;
      search.failure = failures[taken] as Failure;
      search.context = batch[taken].context;
      search.steps += 1;
      return true;
    }
  }
  return false;
}

function isSpent(search: Search, options: ShrinkOptions): boolean {
  return search.tries >= options.triesMax || options.isOver();
}

/** Elements of K and V and of the output: the measure by which one case is smaller than another. */
export function sizeOf(c: Case): number {
  const { tokens, queryHeads, kvHeads } = c.problem;
  const held = tokens.reduce((sum, n) => sum + n, 0);
  return held * kvHeads * 2 + tokens.length * queryHeads;
}
