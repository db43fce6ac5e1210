// finding-tracker.ts - which failures of one kernel wait to be confirmed, and in which order.
//
// Failures with one signature are one finding, told by the earliest case of the plan that shows it.
// A finding is looked at only when every earlier case of the shard is done: then the earliest case
// is known, whatever the number of workers, and the shards of a split campaign and the unsplit one
// agree on it after a merge. A failure that is not there in a fresh process is tried again with the
// next case that shows it, since the first may have depended on what ran before.

import type { Failure } from '../../properties/property.js';
import type { FailureGroup } from './failure-group.js';
import type { FindingState } from './journal.js';
import type { PlannedCase } from './plan.js';

/** Cases that a finding is tried to be confirmed with before it counts as flaky for good. */
const ATTEMPTS_MAX = 3;

interface Tracked {
  readonly signature: string;
  readonly property: string;
  state: FindingState;
  attempts: number;
  busy: boolean;
  /** Cases that were not tried yet, earliest first; no more than may be needed. */
  waiting: { planned: PlannedCase; failure: Failure }[];
}

export class FindingTracker {
  private readonly tracked = new Map<string, Tracked>();
  private readonly known = new Set<string>();

  /** A failure that the ledger covers. true: nobody has seen it before. */
  noteKnown(signature: string): boolean {
    if (this.known.has(signature)) return false;
    this.known.add(signature);
    return true;
  }

  /** true: nobody has seen this signature before. */
  note(planned: PlannedCase, property: string, failure: Failure): boolean {
    const known = this.tracked.get(failure.signature);
    const one = known ?? {
      ...{ signature: failure.signature, property, state: 'new' as const },
      ...{ attempts: 0, busy: false, waiting: [] },
    };
    if (known === undefined) this.tracked.set(failure.signature, one);
    if (isOpen(one)) {
      one.waiting.push({ planned, failure });
      one.waiting.sort((a, b) => a.planned.index - b.planned.index);
      one.waiting.length = Math.min(one.waiting.length, ATTEMPTS_MAX);
    }
    return known === undefined;
  }

  /** What a journal says about a finding, on resume; its cases were noted before. */
  restore(signature: string, state: FindingState, index: number): void {
    const one = this.tracked.get(signature);
    if (one === undefined) return;
    one.state = state;
    one.attempts += 1;
    one.waiting = isOpen(one) ? one.waiting.filter(({ planned }) => planned.index !== index) : [];
  }

  /** A finding whose earliest case is certain; it is busy until `settle`. */
  next(frontier: number): FailureGroup | null {
    for (const one of this.tracked.values()) {
      if (one.busy || !isOpen(one)) continue;
      const [first] = one.waiting;
      if (first === undefined || !(first.planned.index < frontier)) continue;
      one.busy = true;
      one.waiting.shift();
      const { property } = one;
      return { property, failure: first.failure, first: first.planned, count: 1 };
    }
    return null;
  }

  settle(signature: string, state: FindingState): void {
    const one = this.tracked.get(signature);
    if (one === undefined) return;
    one.busy = false;
    one.attempts += 1;
    one.state = state;
    if (!isOpen(one)) one.waiting = [];
  }

  /** Put back: the lane was lost, or the campaign was interrupted. */
  putBack(group: FailureGroup): void {
    const one = this.tracked.get(group.failure.signature);
    if (one === undefined) return;
    one.busy = false;
    one.waiting.unshift({ planned: group.first, failure: group.failure });
  }

  /** Something is being confirmed, or waits to be. */
  get hasWork(): boolean {
    return [...this.tracked.values()].some(
      (one) => one.busy || (isOpen(one) && one.waiting.length > 0),
    );
  }
}

function isOpen({ state, attempts }: Tracked): boolean {
  return state === 'new' || (state === 'flaky' && attempts < ATTEMPTS_MAX);
}
