// shrink - makes a stored case smaller while it fails with the same signature, and stores the
// result as a finding. Exit code 1 when the case fails (as in verify), 0 when there is nothing to
// shrink.

import { type Case, caseHash } from '../../properties/case.js';
import { caseArbitrary } from '../../properties/index.js';
import { openLane } from '../campaign/campaign.js';
import { readCaseFile, type StoredCase } from '../campaign/case-file.js';
import { type FailureGroup, groupFailures, shrinkGroup } from '../campaign/failure-group.js';
import type { Lane } from '../campaign/lane.js';
import { outcomeOf } from '../campaign/outcome.js';
import { headCommit } from '../campaign/package-root.js';
import { CASE_SPACE } from '../campaign/plan.js';
import { storeShrunk } from '../campaign/reported-finding.js';
import { failureReport } from '../report/failure.js';
import { Progress, Waiting } from '../report/progress.js';
import { print, tell } from '../report/writer.js';
import {
  parseSeconds,
  propertiesFrom,
  replayCommand,
  UsageError,
  workdirFrom,
  workersFrom,
} from './arguments.js';
import { interruptSignal } from './interrupt.js';

export interface ShrinkFlags {
  kernel?: string;
  checked: boolean;
  twin?: string;
  property: string[];
  time: string;
  findings: string;
  workdir: string;
  workers?: string;
  deadline: string;
}

export async function shrink(path: string, flags: ShrinkFlags): Promise<number> {
  const read = readCaseFile(path);
  if (read.kind === 'error') throw new UsageError(read.message);
  const { stored } = read;
  const names = propertiesFrom(flags.property, flags.twin);
  const caseDeadlineMs = 1000 * parseSeconds('--deadline', flags.deadline);
  const budgetMs = 1000 * parseSeconds('--time', flags.time);
  const workers = workersFrom(flags.workers);
  const kernel = flags.kernel ?? stored.finding?.kernel ?? null;
  const workdir = workdirFrom(flags.workdir);
  const interrupt = interruptSignal();

  const { checked, twin } = flags;
  const opened = await Waiting.during(
    `opening ${kernel ?? 'the kernel'}`,
    openLane({ kernel, checked, twin, workdir }),
  );
  if (opened.kind === 'error') {
    tell(`kvproof shrink: ${opened.message}`);
    return opened.exitCode;
  }
  const lanes: Lane[] = [opened.lane];
  for (let slot = 1; slot < workers; slot++) lanes.push(opened.lane.sibling(slot));
  try {
    const found = await findFailure(opened.lane, stored, names, caseDeadlineMs);
    if (found.kind === 'none') {
      (found.exitCode === 0 ? print : tell)(found.message);
      return found.exitCode;
    }
    const progress = new Progress();
    const shrunk = await shrinkGroup(found.group, [], {
      arbitrary: caseArbitrary(opened.hello.capabilities, CASE_SPACE),
      lanes,
      properties: names,
      caseDeadlineMs,
      budgetMs,
      interrupt,
      onTry: (done) => progress.update({ phase: 'shrinking', done, planned: 0, failures: 0 }),
    });
    progress.end();
    const reported = storeShrunk(shrunk, {
      kernel: opened.kernel,
      device: opened.hello.device,
      commit: headCommit(process.cwd()),
      seed: 'none',
      findings: flags.findings,
      replayCommand: (path, uri) => replayCommand(path, uri, { twin, checked: flags.checked }),
    });
    print(...failureReport(reported));
    return 1;
  } finally {
    await Promise.all(lanes.map((lane) => lane.close()));
  }
}

type Found =
  | { kind: 'failure'; group: FailureGroup }
  | { kind: 'none'; exitCode: number; message: string };

/** The stored finding's own failure if it is among those of the case, else the first of them. */
async function findFailure(
  lane: Lane,
  { path, case: c, finding }: StoredCase,
  names: readonly string[] | null,
  deadlineMs: number,
): Promise<Found> {
  const outcome = await outcomeOf(lane, c, names, deadlineMs);
  if (outcome.kind === 'lost') return { ...outcome, kind: 'none' };
  if (outcome.kind === 'broken') return { kind: 'none', exitCode: 3, message: outcome.message };
  const planned = { index: 0, origin: path, case: c as Case, hash: caseHash(c) };
  const groups = groupFailures([{ planned, verdicts: outcome.verdicts }]);
  const stored = groups.find(({ failure }) => failure.signature === finding?.signature);
  const group = stored ?? groups[0];
  if (group !== undefined) return { kind: 'failure', group };
  const ran = outcome.verdicts.some(({ verdict }) => verdict.kind === 'pass');
  return ran
    ? { kind: 'none', exitCode: 0, message: `${path}: every property passes, nothing to shrink` }
    : { kind: 'none', exitCode: 3, message: `${path}: no property applies to this case` };
}
