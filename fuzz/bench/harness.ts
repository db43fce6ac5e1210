// harness.ts - the toolkit's own speed, row by row: a child for each row (harness-worker.ts), with
// a deadline. A row that cannot be measured here says why and is not a row.
//
// The emulated device of a library takes one launch at a time, so a campaign uses the cores of a
// machine through processes. What that is worth is measured as one: as many children as there are
// cores, and as there are hardware threads, all at once and by the clock on the wall, beside one
// child alone by the same clock.

import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { physicalCores } from './cores.js';
import type { HarnessAnswer, HarnessTask } from './harness-worker.js';

export interface HarnessRow {
  readonly what: string;
  readonly unit: string;
  readonly value: number;
}

export interface HarnessPlan {
  readonly what: string;
  readonly unit: string;
  readonly task: HarnessTask;
  /** Children that run the task at once; the row is their sum. 1 unless given. */
  readonly processes?: number;
}

const WORKER = fileURLToPath(new URL('./harness-worker.js', import.meta.url));
const DEADLINE_MS = 120_000;

/** Every row, in the order of the report. `gpu`: a device is there. */
export function harnessPlans(gpu: boolean): HarnessPlan[] {
  const kernel = (what: string, uri: string, checked = false): HarnessPlan => {
    return { what, unit: 'cases/s', task: { kind: 'kernel', uri, checked } };
  };
  return [
    kernel('sim.cases/s', 'sim:sm_90'),
    kernel('sim.checked.cases/s', 'sim:sm_90', true),
    kernel('sim.sm_80.cases/s', 'sim:sm_80'),
    ...[...new Set([1, physicalCores(), availableParallelism()])].map((processes): HarnessPlan => {
      const task = { kind: 'kernel', uri: 'sim:sm_90', checked: false, wall: true } as const;
      return { what: `sim.wall.x${processes}.cases/s`, unit: 'cases/s', task, processes };
    }),
    { what: 'reference.attention.MMAC/s', unit: 'MMAC/s', task: { kind: 'attention' } },
    { what: 'reference.MMAC/s', unit: 'MMAC/s', task: { kind: 'bound' } },
    { what: 'reference.L2.MMAC/s', unit: 'MMAC/s', task: { kind: 'range' } },
    { what: 'reference.threads', unit: 'x one thread', task: { kind: 'threads' } },
    ...(gpu ? [kernel('cuda.cases/s', 'cuda:0')] : []),
  ];
}

/** Measures one row; an error of any child is the row's. */
export async function measurePlan({ task, processes = 1 }: HarnessPlan): Promise<HarnessAnswer> {
  const answers = await Promise.all(Array.from({ length: processes }, () => measureRow(task)));
  let sum = 0;
  for (const answer of answers) {
    if (answer.kind === 'error') return answer;
    sum += answer.value;
  }
  return { kind: 'value', value: sum };
}

/** Measures a task in a child. */
export function measureRow(task: HarnessTask, worker = WORKER): Promise<HarnessAnswer> {
  return new Promise((resolve) => {
    const child = fork(worker, [], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    let answer: HarnessAnswer | null = null;
    let complaint = '';
    const late = setTimeout(() => {
      const message = `no answer within ${DEADLINE_MS / 1000} s`;
      answer ??= { kind: 'error', exitCode: 3, message };
      child.kill('SIGKILL');
    }, DEADLINE_MS);
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      complaint = (complaint + text).slice(-500);
    });
    child.on('message', (message: HarnessAnswer) => {
      answer ??= message;
    });
    child.on('close', (code, signal) => {
      clearTimeout(late);
      const how = `the process ended with ${signal ?? `exit code ${code}`} ${complaint.trim()}`;
      resolve(answer ?? { kind: 'error', exitCode: 3, message: how.trim() });
    });
    child.send(task);
  });
}
