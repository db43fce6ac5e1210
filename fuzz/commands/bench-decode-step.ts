// bench decode-step - one step of a model of the shape of LLaMA-3.1-8B against what the limit of
// the memory allows, as a table and, with --json, as kvproof.bench-decode-step/1. Without a GPU:
// one sentence and exit code 3.

import { writeFileSync } from 'node:fs';
import { BenchDevice } from '../bench/device.js';
import { MODEL, runStepBench } from '../bench/step-bench.js';
import { headCommit } from '../campaign/package-root.js';
import { print, tell } from '../report/writer.js';
import { parseCount, reportPath } from './arguments.js';

const DEADLINE_MS = 300_000;

export interface BenchStepFlags {
  readonly kernel: string;
  readonly runs: string;
  readonly seed: string;
  readonly json?: string;
}

export async function benchDecodeStep(flags: BenchStepFlags): Promise<number> {
  const startedAt = Date.now();
  const json = reportPath('--json', flags.json);
  const runs = parseCount('--runs', flags.runs, 10_000);
  const seed = parseCount('--seed', flags.seed, 999_999_999);
  const device = await BenchDevice.open(flags.kernel, DEADLINE_MS);
  if (!(device instanceof BenchDevice)) {
    tell(`kvproof bench decode-step: ${device.message}`);
    return device.exitCode;
  }
  const { name, sm, driver } = device.hello.device;
  print(`${flags.kernel}: ${name}, ${sm}, ${driver}; seed ${seed}, ${runs} runs a row`);
  try {
    const result = await runStepBench(device, { runs, seed, say: print });
    if (result.kind === 'error') {
      tell(`kvproof bench decode-step: ${result.message}`);
      return result.exitCode;
    }
    if (json !== undefined) {
      const report = {
        schema: 'kvproof.bench-decode-step/1',
        ...{ seed, kernel: flags.kernel, device: device.hello.device },
        commit: headCommit(process.cwd()),
        elapsedMs: Date.now() - startedAt,
        model: MODEL,
        readGBs: result.readGBs,
        rows: result.rows,
      };
      writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`);
    }
    return 0;
  } finally {
    device.close();
  }
}
