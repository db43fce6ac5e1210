// pool.ts - runs a list of cases on several lanes, and stops when told to.
//
// Lanes take cases in the order of the plan. Records come back in that order too, whichever lane ran
// a case and whenever it ended, so that equal plans give equal results. `stopAt` is a hard stop: no
// case starts after it, and one that is under way then has GRACE_MS left and counts as not run.

import type { Lane, Loss } from './lane.js';
import { type CaseOutcome, outcomeOf } from './outcome.js';
import type { PlannedCase } from './plan.js';
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

export async function runCases(
  plan: readonly PlannedCase[],
  options: PoolOptions,
): Promise<PoolResult> {
  const outcomes: (CaseOutcome | null)[] = plan.map(() => null);
  const progress = { next: 0, loss: null as Loss | null, late: false };
  const endAll = () => {
    for (const lane of options.lanes) void lane.close();
  };
  options.interrupt.addEventListener('abort', endAll);
  await Promise.all(options.lanes.map((lane) => runLane(lane, plan, outcomes, progress, options)));
  options.interrupt.removeEventListener('abort', endAll);

  const records: CaseRecord[] = [];
  const broken: Breakage[] = [];
  outcomes.forEach((outcome, i) => {
    if (outcome?.kind === 'judged') records.push({ planned: plan[i], verdicts: outcome.verdicts });
    if (outcome?.kind === 'broken') {
      broken.push({ planned: plan[i], message: outcome.message, stack: outcome.stack });
    }
  });
  const stopped = options.interrupt.aborted
    ? 'interrupt'
    : progress.loss !== null
      ? 'loss'
      : progress.late
        ? 'time'
        : 'finished';
  return { records, broken, loss: progress.loss, stopped };
}

async function runLane(
  lane: Lane,
  plan: readonly PlannedCase[],
  outcomes: (CaseOutcome | null)[],
  progress: { next: number; loss: Loss | null; late: boolean },
  options: PoolOptions,
): Promise<void> {
  const remaining = () =>
    options.stopAt === null ? Number.POSITIVE_INFINITY : options.stopAt - Date.now();
  while (progress.next < plan.length && progress.loss === null && !options.interrupt.aborted) {
    if (!(remaining() > 0)) {
      progress.late = true;
      return;
    }
    const index = progress.next++;
    const deadlineMs = Math.min(options.caseDeadlineMs, remaining() + GRACE_MS);
    const outcome = await outcomeOf(lane, plan[index].case, options.properties, deadlineMs);
    if (options.interrupt.aborted) return;
    if (outcome.kind === 'lost') {
      progress.loss ??= outcome;
      return;
    }
    if (deadlineMs < options.caseDeadlineMs && !(remaining() > -GRACE_MS)) {
      progress.late = true; // cut off by the end of the run, not by its own deadline
      return;
    }
    outcomes[index] = outcome;
    if (outcome.kind === 'judged') {
      options.onRecord({ planned: plan[index], verdicts: outcome.verdicts });
    }
  }
}
