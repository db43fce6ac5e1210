// failure-group.ts - from the records of a run to findings: one for each signature, shrunk and
// stored.
//
// A bug makes many cases fail. Failures with one signature are one finding; the first of them in
// the order of the plan is shrunk, and the others are counted. What a finding was shrunk to is
// tried first for the next one, because one bug often fails several properties.

import type * as fc from 'fast-check';
import type { Case } from '../../properties/case.js';
import type { Failure } from '../../properties/property.js';
import type { Lane, Loss } from './lane.js';
import { failureOf, flaky, RUN, singleOutcome } from './outcome.js';
import type { PlannedCase } from './plan.js';
import type { CaseRecord } from './pool.js';
import { type ShrinkResult, shrinkCase } from './shrink.js';

/**
 * A candidate that runs longer is not taken: with the run's own deadline a hang could not shrink.
 */
const CANDIDATE_DEADLINE_MS = 5_000;
/** Far more than any case has needed; a bound on shrinkers that would not end. */
const TRIES_MAX = 2_000;

export interface FailureGroup {
  readonly property: string;
  readonly failure: Failure;
  /** The first case of the plan that failed so. */
  readonly first: PlannedCase;
  count: number;
}

export interface ShrunkGroup {
  readonly group: FailureGroup;
  readonly property: string;
  readonly result: ShrinkResult;
}

/** In the order of the plan, and within a case in the order of the catalogue. */
export function groupFailures(records: readonly CaseRecord[]): FailureGroup[] {
  const groups = new Map<string, FailureGroup>();
  for (const { planned, verdicts } of records) {
    const seen = new Set<string>();
    for (const { property, verdict } of verdicts) {
      if (verdict.kind !== 'fail' || seen.has(verdict.signature)) continue;
      seen.add(verdict.signature);
      const known = groups.get(verdict.signature);
      if (known !== undefined) known.count += 1;
      else groups.set(verdict.signature, { property, failure: verdict, first: planned, count: 1 });
    }
  }
  return [...groups.values()];
}

export interface ShrinkContext {
  readonly arbitrary: fc.Arbitrary<Case>;
  readonly lanes: readonly Lane[];
  /** Properties of the run; null: all. */
  readonly properties: readonly string[] | null;
  readonly caseDeadlineMs: number;
  readonly budgetMs: number;
  readonly interrupt: AbortSignal;
  readonly onTry: (tries: number) => void;
  /** The kernel cannot be opened any more; what is returned then says nothing. */
  readonly onLoss?: (loss: Loss) => void;
}

/**
 * Runs the case again in a fresh process, shrinks it, and runs what came out again in a fresh
 * process, all within the budget but for a candidate that is running when it ends. A failure that
 * is not there the second time is a finding too: two runs of one case differ.
 */
export async function shrinkGroup(
  group: FailureGroup,
  hints: readonly Case[],
  context: ShrinkContext,
): Promise<ShrunkGroup> {
  const { property, failure, first } = group;
  const unshrunk = (f: Failure): ShrinkResult => {
    return { case: first.case, failure: f, steps: 0, tries: 0, smallest: false };
  };
  if (failure.signature.startsWith(`${RUN}/flaky/`) || !(context.budgetMs > 0)) {
    return { group, property, result: unshrunk(failure) };
  }
  const startedAt = Date.now();
  const confirmed = await freshFailure(first.case, group, context);
  if (context.interrupt.aborted) return { group, property, result: unshrunk(failure) };
  if (confirmed?.signature !== failure.signature) {
    const differs = flaky(failure, confirmed?.signature ?? 'a pass in a fresh process');
    return { group, property: RUN, result: unshrunk(differs) };
  }

  // What comes out runs once more, no longer than the first time.
  const last = Math.min(Date.now() - startedAt, context.budgetMs / 4);
  const stopAt = startedAt + context.budgetMs - last;
  const state = { lost: false, tries: 0 };
  const result = await shrinkCase(first.case, confirmed, {
    arbitrary: context.arbitrary,
    attempts: context.lanes.map((lane) => async (c) => {
      const deadlineMs = Math.min(CANDIDATE_DEADLINE_MS, context.caseDeadlineMs);
      const outcome = await singleOutcome(lane, c, propertiesFor(group, context), deadlineMs);
      if (outcome.kind === 'lost') {
        state.lost = true;
        context.onLoss?.(outcome);
      }
      context.onTry(++state.tries);
      return failureOf(outcome, property);
    }),
    hints,
    isOver: () => state.lost || context.interrupt.aborted || !(Date.now() < stopAt),
    triesMax: TRIES_MAX,
  });
  if (result.steps === 0) return { group, property, result };
  const final = await freshFailure(result.case, group, context);
  if (final?.signature === failure.signature) {
    return { group, property, result: { ...result, failure: final } };
  }
  // It failed only in a process that had run other cases, or only under the shorter deadline.
  return { group, property, result: { ...unshrunk(confirmed), tries: result.tries } };
}

async function freshFailure(
  c: Case,
  group: FailureGroup,
  context: ShrinkContext,
): Promise<Failure | null> {
  const [lane] = context.lanes;
  await lane.close();
  const names = propertiesFor(group, context);
  const outcome = await singleOutcome(lane, c, names, context.caseDeadlineMs);
  if (outcome.kind === 'lost') context.onLoss?.(outcome);
  return failureOf(outcome, group.property);
}

/** Only the property at hand is judged, unless it is that the process survives all of them. */
function propertiesFor(group: FailureGroup, context: ShrinkContext): readonly string[] | null {
  return group.property === RUN ? context.properties : [group.property];
}
