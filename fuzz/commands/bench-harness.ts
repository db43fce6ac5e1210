// bench harness - the toolkit's own speed as a table, and as kvproof.bench-harness/1 with --json.

import { writeFileSync } from 'node:fs';
import { type HarnessRow, harnessPlans, measurePlan } from '../bench/harness.js';
import { headCommit } from '../campaign/package-root.js';
import { WorkerProcess } from '../campaign/worker-process.js';
import { print, tell } from '../report/writer.js';
import { reportPath, workdirFrom } from './arguments.js';

export async function benchHarness(flags: { json?: string }): Promise<number> {
  const startedAt = Date.now();
  const json = reportPath('--json', flags.json);
  const workdir = workdirFrom('.kvproof');
  const open = (uri: string) => WorkerProcess.open({ uri, checked: false, workdir, slot: 0 });
  const emulator = await open('sim:sm_90');
  if (emulator.kind === 'error') {
    tell(`kvproof bench harness: ${emulator.message}`);
    return emulator.exitCode;
  }
  await emulator.worker.kill();
  const gpu = await open('cuda:0');
  if (gpu.kind === 'open') await gpu.worker.kill();
  const rows: HarnessRow[] = [];
  for (const plan of harnessPlans(gpu.kind === 'open')) {
    const { what, unit } = plan;
    const answer = await measurePlan(plan);
    if (answer.kind === 'error') {
      tell(`kvproof bench harness: ${what}: ${answer.message}`);
      return answer.exitCode;
    }
    rows.push({ what, unit, value: answer.value });
    print(`${what.padEnd(28)} ${answer.value.toFixed(1).padStart(10)} ${unit}`);
  }
  if (json !== undefined) {
    const result = {
      schema: 'kvproof.bench-harness/1',
      seed: null,
      kernel: 'sim:sm_90',
      device: gpu.kind === 'open' ? gpu.hello.device : emulator.hello.device,
      commit: headCommit(process.cwd()),
      elapsedMs: Date.now() - startedAt,
      rows,
    };
    writeFileSync(json, `${JSON.stringify(result, null, 2)}\n`);
  }
  return 0;
}
