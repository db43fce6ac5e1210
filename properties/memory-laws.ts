// memory-laws: an emulator that checks every access has nothing to report, under any schedule: no
// access out of bounds, no read of uninitialised memory, no data race, no misused barrier, no
// deadlock.

import { reported } from './memory-law.js';
import type { Judgement, Property, Verdict } from './property.js';

export const memoryLaws: Property = {
  name: 'memory-laws',
  statement:
    'A checking emulator reports nothing under any schedule: no access out of bounds, no ' +
    'uninitialised read, no race, no misuse of a barrier or copy.',
  blind: 'Paths that the case does not take; wrong values in the right places.',
  oneIn: 2,

  judge(judgement: Judgement): Verdict {
    if (!judgement.kernel.capabilities.checked) {
      return { kind: 'unsupported', reason: 'the kernel does not run on a checking emulator' };
    }
    const runs = [judgement.base(), judgement.again(), ...judgement.rescheduled()];
    for (const run of runs) {
      if (run.kind === 'failed') return run.verdict;
      const broken = reported('memory-laws', run.value);
      if (broken !== null) return broken;
    }
    return { kind: 'pass', elements: runs.length, ratio: 0 };
  },
};
