// study-allocation - the best use of a budget of bits; what is asked, how and what would refute it
// stands in fuzz/studies/allocation.ts.

import { allocationLines } from '../report/study.js';
import { print } from '../report/writer.js';
import {
  ALLOCATION_SCHEMA,
  type AllocationRow,
  allocationTasks,
  bestWithin,
  measuredFronts,
  predictedFronts,
  singleVariants,
} from '../studies/allocation.js';
import { statistics } from '../studies/statistics.js';
import { reportPath, seedFrom } from './arguments.js';
import { writeData } from './study-accuracy.js';
import { drawFigures } from './study-figures.js';
import { ownCommit } from './study-options.js';
import { openRecords, runStudy, type StudyFlags, writeResult } from './study-run.js';

const VERB = 'study allocation';
const BUDGETS = [2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 8];
/** The formats are the reference's; no kernel runs. */
const KERNEL = 'ref:';

export async function studyAllocation(
  flags: Omit<StudyFlags, 'kernel'>,
  version: string,
): Promise<number> {
  const startedAt = Date.now();
  reportPath('--json', flags.json);
  const seed = seedFrom(flags.seed);
  const commit = ownCommit(version);
  print(`seed ${seed}`);
  const all = { ...flags, kernel: KERNEL };
  const identity = { study: 'allocation', kernel: KERNEL, commit, quick: String(flags.quick) };
  const records = openRecords(all, identity);
  const setup = { study: 'accuracy' as const, kernel: KERNEL };
  const singles = allocationTasks('single', singleVariants(flags.quick), flags.quick);
  const first = await runStudy(VERB, all, records, setup, singles);
  if (first.kind === 'ended') return first.exitCode;
  const fronts = predictedFronts(singles, first.values);
  const variants = fronts.map(({ variant }) => variant);
  const together = allocationTasks('front', variants, flags.quick);
  const second = await runStudy(VERB, all, records, setup, together);
  if (second.kind === 'ended') return second.exitCode;
  const rows = measuredFronts(fronts, together, second.values, await statistics(seed));
  const budgets = BUDGETS.map((budget) => ({ budget, best: bestWithin(rows, budget) }));
  print('', ...allocationLines(budgets));
  const code = writeResult(VERB, all, {
    ...{ schema: ALLOCATION_SCHEMA, seed, kernel: KERNEL, device: second.device, commit },
    elapsedMs: Date.now() - startedAt,
    ...{ rows, budgets },
  });
  if (code !== 0) return code;
  await writeData(flags.out, rows.map(flat));
  return drawFigures(flags.out);
}

function flat({ variant, interval, ...row }: AllocationRow) {
  const [low, high] = interval ?? [null, null];
  return { ...row, ...variant, intervalLow: low, intervalHigh: high };
}
