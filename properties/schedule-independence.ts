// schedule-independence: the order in which warps run and copies land does not show in any bit. For
// kernels on an emulator, whose scheduler is an adversary; the poison stays the same, so that
// nothing but the schedule can be the cause.

import type { Ran } from './kernel.js';
import type { Judgement, Outcome, Property, Verdict } from './property.js';
import { notDeterministic, sameBits } from './same-bits.js';

const NAME = 'schedule-independence';

/** Compares further runs with the first. */
function judgeSchedules(judgement: Judgement, base: Ran, others: readonly Outcome<Ran>[]): Verdict {
  let elements = 0;
  let interleavings = 0;
  for (const other of others) {
    if (other.kind === 'failed') return other.verdict;
    const { scheduleHash } = other.value;
    const verdict = sameBits(NAME, judgement, base, other.value, 'under another schedule');
    if (verdict.kind !== 'pass') return verdict;
    elements += verdict.elements;
    if (scheduleHash !== base.scheduleHash) interleavings += 1;
  }
  if (interleavings === 0) {
    return { kind: 'unsupported', reason: 'every schedule gave the same interleaving' };
  }
  return { kind: 'pass', elements, ratio: 0 };
}

export const scheduleIndependence: Property = {
  name: NAME,
  statement:
    'On an emulator, every schedule of warps and of asynchronous copies gives the same bits.',
  blind: 'Schedules that were not tried; races that do not change a value (memory-laws sees them).',
  oneIn: 4,

  judge(judgement: Judgement): Verdict {
    const { emulated, deterministic } = judgement.kernel.capabilities;
    if (!emulated) return { kind: 'unsupported', reason: 'a real device chooses its own schedule' };
    if (!deterministic) return notDeterministic;
    const base = judgement.base();
    if (base.kind === 'failed') return base.verdict;
    return judgeSchedules(judgement, base.value, judgement.rescheduled());
  },
};
