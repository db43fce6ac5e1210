// verify - the gate: what failed before, the real cache, then generated cases, within a time or a
// number of cases. See fuzz/campaign/campaign.ts for what runs and README.md for the exit codes.

import { type Campaign, type CampaignOptions, runCampaign } from '../campaign/campaign.js';
import { RUN } from '../campaign/outcome.js';
import type { Plan } from '../campaign/plan.js';
import { type Tally, tally } from '../campaign/tally.js';
import { Progress, Waiting } from '../report/progress.js';
import { campaignReport, startLines } from '../report/terminal.js';
import { print, tell } from '../report/writer.js';
import {
  commandLine,
  parseCount,
  parseSeconds,
  propertiesFrom,
  propertyNames,
  replayCommand,
  seedFrom,
  workdirFrom,
  workersFrom,
} from './arguments.js';
import { interruptSignal } from './interrupt.js';
import { VerifyReports } from './verify-reports.js';

export interface VerifyFlags {
  kernel?: string;
  time?: string;
  runs?: string;
  climb?: string;
  seed?: string;
  baseline?: string;
  json?: string;
  junit?: string;
  sarif?: string;
  workers?: string;
  findings: string;
  workdir: string;
  checked: boolean;
  twin?: string;
  property: string[];
  deadline: string;
  shrinkTime: string;
}

export async function verify(flags: VerifyFlags, version: string): Promise<number> {
  const reports = new VerifyReports(flags, version);
  const options = optionsFrom(flags);
  const names = [RUN, ...(options.properties ?? propertyNames(flags.twin))];
  print(`seed ${options.seed}`);
  tellOrphans(options);
  const progress = new Progress();
  const state = { done: 0, planned: 0, failures: 0 };
  const opening = new Waiting(`opening ${options.kernel ?? 'the kernel'}`);
  const result = await runCampaign({
    ...options,
    events: {
      opened(kernel, hello, plan) {
        opening.end();
        print(...startLines(kernel, hello), planLine(plan));
        state.planned = plan.length;
      },
      ran({ verdicts }) {
        state.done += 1;
        if (verdicts.some(({ verdict }) => verdict.kind === 'fail')) state.failures += 1;
        progress.update({ phase: 'cases', ...state });
      },
      shrinking(signature, tries) {
        progress.update({ ...state, phase: `shrinking ${signature}`, done: tries, planned: 0 });
      },
    },
  });
  opening.end();
  progress.end();
  if (result.kind === 'error') {
    tell(`kvproof verify: ${result.message}`);
    reports.fail(result.message);
    return result.exitCode;
  }
  const sums = tally(result.pool.records, names);
  const exitCode = exitCodeOf(result, sums);
  print('', ...campaignReport(result, sums));
  return reports.write(result, sums, exitCode);
}

function optionsFrom(flags: VerifyFlags): Omit<CampaignOptions, 'events'> {
  const seconds = parseSeconds('--time', flags.time ?? '60s');
  return {
    kernel: flags.kernel ?? null,
    checked: flags.checked,
    twin: flags.twin,
    seed: seedFrom(flags.seed),
    budget: {
      generated: flags.runs === undefined ? null : parseCount('--runs', flags.runs, 100_000_000),
      seconds: flags.runs !== undefined && flags.time === undefined ? null : seconds,
      climbed: flags.climb === undefined ? 0 : parseCount('--climb', flags.climb, 100_000_000),
    },
    corpus: true,
    workers: workersFrom(flags.workers),
    workdir: workdirFrom(flags.workdir),
    findings: flags.findings,
    baseline: flags.baseline ?? null,
    properties: propertiesFrom(flags.property, flags.twin),
    caseDeadlineMs: 1000 * parseSeconds('--deadline', flags.deadline),
    shrinkMs: 1000 * parseSeconds('--shrink-time', flags.shrinkTime),
    replayCommand: (path, kernel) => replayCommand(path, kernel, flags),
    interrupt: interruptSignal(),
  };
}

/** 0 nothing found, 1 findings, 3 the run says nothing, 4 the device was lost. */
export function exitCodeOf({ findings, pool }: Campaign, sums: Tally): number {
  if (findings.some(({ isNew }) => isNew)) return 1;
  if (pool.loss !== null) return pool.loss.exitCode;
  if (pool.broken.length > 0 || pool.stopped === 'interrupt') return 3;
  return sums.cases > 0 ? 0 : 3;
}

function planLine({ stored, realCache, generated }: Plan): string {
  return `plan: ${stored} stored, ${realCache} from the real cache, ${generated} generated cases`;
}

/** Cases that were running when an earlier run was cut off: the machine may have died of one. */
function tellOrphans({ workdir }: Pick<CampaignOptions, 'workdir'>): void {
  for (const path of workdir.orphans()) {
    tell(`an earlier run was cut off in this case: ${commandLine('replay', path)}`);
  }
}
