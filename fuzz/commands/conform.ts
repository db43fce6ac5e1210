// conform - the conformance suite for a kernel that somebody else wrote: one line a law. Exit code
// 0 if every law is kept, 1 if one is broken, 2 for a kernel that cannot be opened.

import { openLane } from '../campaign/campaign.js';
import { headCommit } from '../campaign/package-root.js';
import { conform as conformKernel } from '../conform/conform.js';
import { conformJson, conformSummary, countLaws, lawLine } from '../report/conform.js';
import { Progress, Waiting } from '../report/progress.js';
import { print, tell, writeReport } from '../report/writer.js';
import { parseSeconds, reportPath, workdirFrom } from './arguments.js';

export interface ConformFlags {
  json?: string;
  deadline: string;
  workdir: string;
  checked: boolean;
}

export async function conform(kernel: string, flags: ConformFlags): Promise<number> {
  const startedAt = Date.now();
  reportPath('--json', flags.json);
  const deadlineMs = 1000 * parseSeconds('--deadline', flags.deadline);
  const workdir = workdirFrom(flags.workdir);
  const { checked } = flags;
  const opened = await Waiting.during(
    `opening ${kernel}`,
    openLane({ kernel, checked, twin: undefined, workdir }),
  );
  if (opened.kind === 'error') return refuse(opened);
  const { lane, hello } = opened;
  const { capabilities, device } = hello;
  print(`kernel ${kernel} (${capabilities.name} on ${device.name})`);
  const progress = new Progress();
  try {
    const result = await conformKernel(lane, {
      deadlineMs,
      onCase: (done, planned) => progress.update({ phase: 'cases', done, planned, failures: 0 }),
    });
    progress.end();
    if (result.kind === 'error') return refuse(result);
    const { laws, cases } = result;
    print(...laws.map(lawLine), '', conformSummary(laws, cases));
    const code = countLaws(laws).failed > 0 ? 1 : 0;
    if (flags.json === undefined) return code;
    const commit = headCommit(process.cwd());
    const elapsedMs = Date.now() - startedAt;
    const text = conformJson({ kernel, hello, commit, elapsedMs, cases, laws });
    const trouble = writeReport('--json', flags.json, text);
    if (trouble === null) return code;
    tell(`kvproof conform: ${trouble}`);
    return code === 0 ? 3 : code;
  } finally {
    progress.end();
    await lane.close();
  }
}

function refuse({ exitCode, message }: { exitCode: number; message: string }): number {
  tell(`kvproof conform: ${message}`);
  return exitCode;
}
