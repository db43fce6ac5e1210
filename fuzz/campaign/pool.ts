// pool.ts - runs a list of cases on several lanes, and stops when told to.
//
// Lanes take cases in the order of the plan. Records come back in that order too, whichever lane
// ran a case and whenever it ended, so that equal plans give equal results. `stopAt` is a hard
// stop: no case starts after it, and one that is under way then has GRACE_MS left and counts as not
// run.

import { propertiesFor } from '../../properties/index.js';
import type { Lane, Loss } from './lane.js';
import { outcomeOf } from './outcome.js';
import type { Plan, PlannedCase } from './plan.js';
import type { NamedVerdict } from './protocol.js';

/** Long enough for any case that is not hung, short enough to keep a promise of seconds. */
const GRACE_MS = 5_000;

export interface CaseRecord {
  readonly planned: PlannedCase;
  readonly verdicts: readonly NamedVerdict[];
}

export interface Breakage {
  readonly planned: PlannedCase;
  readonly message: string;
  readonly stack: string;
}

export interface PoolOptions {
  readonly lanes: readonly Lane[];
  readonly properties: readonly string[] | null;
  /** Judged on every case beside what its name chooses. */
  readonly always: readonly string[];
  readonly caseDeadlineMs: number;
  /** By `now`; null: the plan is run to its end. */
  readonly stopAt: number | null;
  readonly interrupt: AbortSignal;
  readonly onRecord: (record: CaseRecord) => void;
}

export interface PoolResult {
  /** In the order of the plan; shorter than the plan if the run was stopped. */
  readonly records: readonly CaseRecord[];
  readonly broken: readonly Breakage[];
  readonly loss: Loss | null;
  readonly stopped: 'finished' | 'time' | 'interrupt' | 'loss';
}

/** What the lanes share. */
interface Progress {
  next: number;
  loss: Loss | null;
  late: boolean;
  readonly records: CaseRecord[];
  readonly broken: Breakage[];
}

/** Origin of a case that a climb has proposed. */
export const CLIMBED = 'climbed';

export async function runCases(
  plan: Pick<Plan, 'length' | 'at'>,
  options: PoolOptions,
): Promise<PoolResult> {
  const progress: Progress = { next: 0, loss: null, late: false, records: [], broken: [] };
  const endAll = () => {
    for (const lane of options.lanes) void lane.close();
  };
  options.interrupt.addEventListener('abort', endAll);
  await Promise.all(options.lanes.map((lane) => runLane(lane, plan, progress, options)));
  options.interrupt.removeEventListener('abort', endAll);

  const inPlan = (a: { planned: PlannedCase }, b: { planned: PlannedCase }) =>
    a.planned.index - b.planned.index;
  return {
    records: progress.records.sort(inPlan),
    broken: progress.broken.sort(inPlan),
    loss: progress.loss,
    stopped: stopOf(progress, options.interrupt),
  };
}

function stopOf(progress: Progress, interrupt: AbortSignal): PoolResult['stopped'] {
  if (interrupt.aborted) return 'interrupt';
  if (progress.loss !== null) return 'loss';
  return progress.late ? 'time' : 'finished';
}

/** Stored cases are judged by everything, drawn ones by what their name chooses. */
export function namesFor(
  { origin, case: c }: PlannedCase,
  { properties: names, always }: Pick<PoolOptions, 'properties' | 'always'>,
): readonly string[] | null {
  if (names !== null || (origin !== 'generated' && origin !== CLIMBED)) return names;
  return [...propertiesFor(c).map(({ name }) => name), ...always];
}

async function runLane(
  lane: Lane,
  plan: Pick<Plan, 'length' | 'at'>,
  progress: Progress,
  options: PoolOptions,
): Promise<void> {
  const remaining = () =>
    options.stopAt === null ? Number.POSITIVE_INFINITY : options.stopAt - Date.now();
  while (progress.next < plan.length && progress.loss === null && !options.interrupt.aborted) {
    if (!(remaining() > 0)) {
      progress.late = true;
      return;
    }
    const planned = plan.at(progress.next++);
    const deadlineMs = Math.min(options.caseDeadlineMs, remaining() + GRACE_MS);
    const names = namesFor(planned, options);
    const outcome = await outcomeOf(lane, planned.case, names, deadlineMs);
    if (options.interrupt.aborted) return;
    if (outcome.kind === 'lost') {
      progress.loss ??= outcome;
      return;
    }
    if (deadlineMs < options.caseDeadlineMs && !(remaining() > -GRACE_MS)) {
      progress.late = true; // cut off by the end of the run, not by its own deadline
      return;
    }
    if (outcome.kind === 'broken') {
      progress.broken.push({ planned, message: outcome.message, stack: outcome.stack });
      continue;
    }
    const record = { planned, verdicts: outcome.verdicts };
    progress.records.push(record);
    options.onRecord(record);
  }
}
