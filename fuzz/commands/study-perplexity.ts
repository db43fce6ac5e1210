// study-perplexity - perplexity of a trained model against the bits of its cache; what is asked,
// how and what would refute it stands in fuzz/studies/perplexity.ts.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Device } from '../../properties/kernel.js';
import { Progress } from '../report/progress.js';
import { perplexityLines } from '../report/study.js';
import { print, tell, writeReport } from '../report/writer.js';
import {
  AXES,
  BIT_PAIRS,
  type CacheConfig,
  configGrid,
  EQUAL_PAIRS,
  GROUPS,
} from '../studies/cache-config.js';
import {
  PERPLEXITY_SCHEMA,
  type PerplexityTable,
  perplexityTable,
  perplexityTasks,
} from '../studies/perplexity.js';
import { PROTOCOL } from '../studies/scored-windows.js';
import { statistics } from '../studies/statistics.js';
import { type PoolResult, runTasks } from '../studies/study-pool.js';
import { StudyRecords } from '../studies/study-records.js';
import { parseSeconds, reportPath, seedFrom, UsageError, workersFrom } from './arguments.js';
import { interruptSignal } from './interrupt.js';
import {
  bitPairs,
  listOf,
  modelFolder,
  ownCommit,
  tellUnfinished,
  windowsFrom,
} from './study-options.js';

export interface PerplexityFlags {
  kernel: string;
  axes?: string;
  groups?: string;
  bits?: string;
  windows?: string;
  quick: boolean;
  workers?: string;
  seed?: string;
  out: string;
  resume: boolean;
  deadline: string;
  model?: string;
  json?: string;
}

const VERB = 'study perplexity';
/** Of a whole run and of --quick; the recorded base loss is of 32. */
const WINDOWS = 8;
const QUICK_WINDOWS = 2;

interface Plan {
  readonly configs: readonly CacheConfig[];
  readonly windows: number;
  readonly seed: number | string;
  readonly commit: string;
}

export async function studyPerplexity(flags: PerplexityFlags, version: string): Promise<number> {
  const startedAt = Date.now();
  reportPath('--json', flags.json);
  const pairs = bitPairs('--bits', flags.bits, flags.quick ? EQUAL_PAIRS : BIT_PAIRS);
  const plan: Plan = {
    configs: configGrid(
      listOf('--axes', flags.axes, AXES),
      listOf('--groups', flags.groups, GROUPS),
      pairs,
    ),
    windows: windowsFrom(flags.windows, flags.quick ? QUICK_WINDOWS : WINDOWS),
    seed: seedFrom(flags.seed),
    commit: ownCommit(version),
  };
  print(`seed ${plan.seed}`);
  const ran = await measure(flags, plan);
  const unfinished = tellUnfinished(VERB, ran.pool);
  if (unfinished !== null) return unfinished;
  const device = ran.pool.kind === 'finished' ? ran.pool.device : null;
  const { bootstrap } = await statistics(plan.seed);
  const table = perplexityTable(plan.configs, plan.windows, ran.values, bootstrap);
  print('', ...perplexityLines(table, plan.windows));
  const text = perplexityJson(flags, plan, table, device ?? ran.device, Date.now() - startedAt);
  for (const [option, path] of [
    ['--out', join(flags.out, 'result.json')],
    ['--json', flags.json],
  ]) {
    const trouble = path === undefined ? null : writeReport(option as string, path, text);
    if (trouble === null) continue;
    tell(`kvproof ${VERB}: ${trouble}`);
    return 3;
  }
  print('', `stored in ${flags.out}; kvproof study figures ${flags.out} draws it`);
  if (table.rows.length > 0) return 0;
  tell(`kvproof ${VERB}: ${flags.kernel} supports none of the caches: nothing was measured`);
  return 3;
}

interface Measured {
  readonly pool: PoolResult;
  readonly values: ReadonlyMap<string, unknown>;
  /** Of an earlier part of the run that is resumed. */
  readonly device: Device | null;
}

async function measure(flags: PerplexityFlags, plan: Plan): Promise<Measured> {
  const deadlineMs = 1000 * parseSeconds('--deadline', flags.deadline);
  const model = modelFolder(flags.model);
  const identity = {
    study: 'perplexity',
    kernel: flags.kernel,
    commit: plan.commit,
    model,
    ...PROTOCOL,
  };
  const opened = StudyRecords.open(flags.out, identity, flags.resume && existsSync(flags.out));
  if (opened.kind === 'error') throw new UsageError(opened.message);
  const { records } = opened;
  const all = perplexityTasks(plan.configs, plan.windows);
  const tasks = all.filter(({ key }) => !records.values.has(key));
  if (tasks.length < all.length) {
    print(`${all.length - tasks.length} of ${all.length} values were stored by an earlier run`);
  }
  const progress = new Progress();
  const state = { phase: 'windows x caches', done: 0, planned: tasks.length, failures: 0 };
  const pool = await runTasks({
    setup: { study: 'perplexity', kernel: flags.kernel, model, protocol: PROTOCOL },
    tasks,
    workers: workersFrom(flags.workers),
    deadlineMs,
    interrupt: interruptSignal(),
    done(key, value) {
      records.add(key, value);
      state.done += 1;
      progress.update(state);
    },
  });
  progress.end();
  if (pool.kind === 'finished' && pool.device !== null) records.add('device', pool.device);
  const device = (records.values.get('device') ?? null) as Device | null;
  return { pool, values: records.values, device };
}

function perplexityJson(
  flags: PerplexityFlags,
  plan: Plan,
  table: PerplexityTable,
  device: Device | null,
  elapsedMs: number,
): string {
  const result = {
    schema: PERPLEXITY_SCHEMA,
    seed: plan.seed,
    kernel: flags.kernel,
    device,
    commit: plan.commit,
    elapsedMs,
    protocol: { model: 'code-lm', ...PROTOCOL, windows: plan.windows, tokens: table.tokens },
    base: table.base,
    rows: table.rows,
    unsupported: table.unsupported,
  };
  return `${JSON.stringify(result, null, 2)}\n`;
}
