// study-run.ts - what every study does: stored values are taken over, the rest of the tasks runs in
// worker processes, values are stored as they come, and the result is written.

import { join } from 'node:path';
import type { Device } from '../../properties/kernel.js';
import { Progress } from '../report/progress.js';
import { print, tell, writeReport } from '../report/writer.js';
import type { StudySetup } from '../studies/study-messages.js';
import { type PlannedTask, runTasks } from '../studies/study-pool.js';
import { type RecordsIdentity, StudyRecords } from '../studies/study-records.js';
import { parseSeconds, UsageError, workersFrom } from './arguments.js';
import { interruptSignal } from './interrupt.js';

/** Options of every study. */
export interface StudyFlags {
  kernel: string;
  quick: boolean;
  workers?: string;
  seed?: string;
  out: string;
  resume: boolean;
  deadline: string;
  json?: string;
}

export interface StudyRun {
  readonly kind: 'run';
  readonly values: ReadonlyMap<string, unknown>;
  /** Of the kernel; null when no task ever ran. */
  readonly device: Device | null;
}

export type StudyRunResult = StudyRun | { readonly kind: 'ended'; readonly exitCode: number };

/** Key of the device among the stored values; no task has a key without a separator. */
const DEVICE = 'device';

/** The records of --out. A second round of tasks (`more`) goes to the same records. */
export function openRecords(flags: StudyFlags, identity: RecordsIdentity): StudyRecords {
  const opened = StudyRecords.open(flags.out, identity, flags.resume);
  if (opened.kind === 'error') throw new UsageError(opened.message);
  return opened.records;
}

export async function runStudy(
  verb: string,
  flags: StudyFlags,
  records: StudyRecords,
  setup: StudySetup,
  all: readonly PlannedTask[],
): Promise<StudyRunResult> {
  const deadlineMs = 1000 * parseSeconds('--deadline', flags.deadline);
  const tasks = all.filter(({ key }) => !records.values.has(key));
  if (tasks.length < all.length) {
    print(`${all.length - tasks.length} of ${all.length} values were stored by an earlier run`);
  }
  const progress = new Progress();
  const state = { phase: 'values', done: 0, planned: tasks.length, failures: 0 };
  const pool = await runTasks({
    ...{ setup, tasks, deadlineMs, workers: workersFrom(flags.workers) },
    interrupt: interruptSignal(),
    done(key, value) {
      records.add(key, value);
      state.done += 1;
      progress.update(state);
    },
  });
  progress.end();
  if (pool.kind === 'interrupted') {
    tell(`kvproof ${verb}: interrupted; --resume goes on from here`);
    return { kind: 'ended', exitCode: 3 };
  }
  if (pool.kind === 'failure') {
    tell(`kvproof ${verb}: ${pool.message}`);
    return { kind: 'ended', exitCode: pool.exitCode };
  }
  if (pool.device !== null) records.add(DEVICE, pool.device);
  const device = (records.values.get(DEVICE) ?? null) as Device | null;
  return { kind: 'run', values: records.values, device };
}

/** result.json in --out and the file of --json; the exit code, 0 or 3. */
export function writeResult(verb: string, flags: StudyFlags, result: object): number {
  const text = `${JSON.stringify(result, null, 2)}\n`;
  const files: [string, string | undefined][] = [
    ['--out', join(flags.out, 'result.json')],
    ['--json', flags.json],
  ];
  for (const [option, path] of files) {
    const trouble = path === undefined ? null : writeReport(option, path, text);
    if (trouble === null) continue;
    tell(`kvproof ${verb}: ${trouble}`);
    return 3;
  }
  return 0;
}
