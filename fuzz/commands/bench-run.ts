// What `bench kernel` and `bench decode-step` have in common: options, the device and its end, the
// errors, and the fields that every result has. Without a GPU: one sentence and exit code 3.

import { writeFileSync } from 'node:fs';
import { BenchDevice } from '../bench/device.js';
import type { BenchError, BenchOptions } from '../bench/options.js';
import { headCommit } from '../campaign/package-root.js';
import { print, tell } from '../report/writer.js';
import { parseCount, reportPath } from './arguments.js';

const DEADLINE_MS = 300_000;

export interface BenchFlags {
  readonly kernel: string;
  readonly runs: string;
  readonly seed: string;
  readonly json?: string;
}

export interface Bench<Result> {
  /** As in `kvproof bench NAME` and kvproof.bench-NAME/1. */
  readonly name: string;
  measure(device: BenchDevice, options: BenchOptions): Promise<Result | BenchError>;
  /** What its result has besides the fields of every result. */
  fields(result: Result): object;
}

export async function runBench<Result extends { readonly kind: 'rows' }>(
  bench: Bench<Result>,
  flags: BenchFlags,
): Promise<number> {
  const startedAt = Date.now();
  const json = reportPath('--json', flags.json);
  const runs = parseCount('--runs', flags.runs, 10_000);
  const seed = parseCount('--seed', flags.seed, 999_999_999);
  const device = await BenchDevice.open(flags.kernel, DEADLINE_MS);
  if (!(device instanceof BenchDevice)) {
    tell(`kvproof bench ${bench.name}: ${device.message}`);
    return device.exitCode;
  }
  const { name, sm, driver } = device.hello.device;
  print(`${flags.kernel}: ${name}, ${sm}, ${driver}; seed ${seed}, ${runs} runs a row`);
  try {
    const result = await bench.measure(device, { runs, seed, say: print });
    if (result.kind === 'error') {
      tell(`kvproof bench ${bench.name}: ${result.message}`);
      return result.exitCode;
    }
    if (json !== undefined) {
      const report = {
        schema: `kvproof.bench-${bench.name}/1`,
        ...{ seed, kernel: flags.kernel, device: device.hello.device },
        commit: headCommit(process.cwd()),
        elapsedMs: Date.now() - startedAt,
        ...bench.fields(result),
      };
      writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`);
    }
    return 0;
  } finally {
    device.close();
  }
}
