// replay - runs stored cases (files or folders of cases and findings) and says whether a finding
// still fails, and whether in the same way. Stores nothing. Without --kernel a finding runs on the
// kernel that it was found on.

import { caseHash } from '../../properties/case.js';
import { openLane } from '../campaign/campaign.js';
import { readCases, type StoredCase } from '../campaign/case-file.js';
import { type CaseOutcome, outcomeOf } from '../campaign/outcome.js';
import { Waiting } from '../report/progress.js';
import { replayLines, replaySummary } from '../report/replay.js';
import { print, tell } from '../report/writer.js';
import { parseSeconds, propertiesFrom, UsageError, workdirFrom } from './arguments.js';
import { interruptSignal } from './interrupt.js';

export interface ReplayFlags {
  kernel?: string;
  checked: boolean;
  twin?: string;
  property: string[];
  workdir: string;
  deadline: string;
}

export async function replay(paths: readonly string[], flags: ReplayFlags): Promise<number> {
  const stored = paths.flatMap(readOrRefuse);
  const names = propertiesFrom(flags.property, flags.twin);
  const workdir = workdirFrom(flags.workdir);
  const deadlineMs = 1000 * parseSeconds('--deadline', flags.deadline);
  const interrupt = interruptSignal();
  const counts = { pass: 0, fail: 0, unsupported: 0, broken: 0 };
  for (const [kernel, cases] of byKernel(stored, flags.kernel)) {
    const { checked, twin } = flags;
    const opened = await Waiting.during(
      `opening ${kernel ?? 'the kernel'}`,
      openLane({ kernel, checked, twin, workdir }),
    );
    if (opened.kind === 'error') return refuse(opened);
    const abort = () => void opened.lane.close();
    interrupt.addEventListener('abort', abort);
    try {
      for (const one of cases) {
        const outcome = await outcomeOf(opened.lane, one.case, names, deadlineMs);
        if (interrupt.aborted) return 3;
        if (outcome.kind === 'lost') return refuse(outcome);
        counts[classOf(outcome)] += 1;
        print(...replayLines(one, caseHash(one.case), opened.kernel, outcome));
      }
    } finally {
      interrupt.removeEventListener('abort', abort);
      await opened.lane.close();
    }
  }
  print(replaySummary(counts));
  if (counts.fail > 0) return 1;
  return counts.broken > 0 || counts.pass === 0 ? 3 : 0;
}

function readOrRefuse(path: string): StoredCase[] {
  const read = readCases(path);
  if (read.kind === 'error') throw new UsageError(read.message);
  if (read.stored.length === 0) {
    throw new UsageError(`${path}: holds no case, at least one .json file is required`);
  }
  return read.stored;
}

function refuse({ exitCode, message }: { exitCode: number; message: string }): number {
  tell(`kvproof replay: ${message}`);
  return exitCode;
}

/** null: the default of openLane. */
function byKernel(
  stored: readonly StoredCase[],
  kernel: string | undefined,
): Map<string | null, StoredCase[]> {
  const groups = new Map<string | null, StoredCase[]>();
  for (const one of stored) {
    const uri = kernel ?? one.finding?.kernel ?? null;
    groups.set(uri, [...(groups.get(uri) ?? []), one]);
  }
  return groups;
}

function classOf(
  outcome: Exclude<CaseOutcome, { kind: 'lost' }>,
): 'pass' | 'fail' | 'unsupported' | 'broken' {
  if (outcome.kind === 'broken') return 'broken';
  const kinds = outcome.verdicts.map(({ verdict }) => verdict.kind);
  if (kinds.includes('fail')) return 'fail';
  return kinds.includes('pass') ? 'pass' : 'unsupported';
}
