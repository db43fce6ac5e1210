// step-bench.ts - the measurement of `bench decode-step`: a whole step of a model, whose weights
// have to be read in any case, so that a smaller cache can only speed up its part of the bytes.
//
// Attention and cache of each length and width are checked first as in `bench kernel`; the dense
// part checks itself (native/bench). The last 64 tokens lie in the residual window, as on average.

import type { Scheme } from '../../reference/scheme.js';
import { nativeProblem } from '../kernels/native-problem.js';
import { checkHead } from './check-head.js';
import type { BenchDevice } from './device.js';
import { caseOf, type RowPlan } from './kernel-rows.js';
import type { BenchError, BenchOptions } from './options.js';
import { type Quantiles, quantiles } from './statistics.js';

/** The shape of LLaMA-3.1-8B, without embedding and last projection. */
export const MODEL = { layers: 32, hidden: 4096, feedForward: 14_336 } as const;
const HEADS = { queryHeads: 32, kvHeads: 8 } as const;
const WINDOW_TOKENS = 64;
export const STEP_LENGTHS = [4096, 8192, 16_384, 32_768, 65_536, 131_072] as const;
const WIDTHS = [16, 4, 2] as const;

export interface StepRow {
  readonly bits: number;
  readonly tokens: number;
  readonly ms: Quantiles;
  /** Weights and caches of all layers. */
  readonly bytes: number;
  readonly limitMs: number;
  readonly ofLimit: number;
  /** Over the fp16 cache at the same length, measured, and by the bytes alone; null without one. */
  readonly speedupOverFp16: number | null;
  readonly limitSpeedup: number | null;
  readonly ofLimitSpeedup: number | null;
}

export type StepResult =
  | { readonly kind: 'rows'; readonly readGBs: number; readonly rows: readonly StepRow[] }
  | BenchError;

function stepPlan(bits: (typeof WIDTHS)[number], tokens: number): RowPlan {
  const format = bits === 16 ? 'fp16' : 'bitdecoding';
  const scheme: Scheme = { format, kAxis: 'channel', bits, group: 128 };
  return { op: 'append', batch: 1, ...HEADS, tokens, scheme };
}

/** Of a row from its times; `rows` are those before it. */
export function stepRow(
  { scheme: { bits }, tokens }: RowPlan,
  ms: Quantiles,
  bytes: number,
  readGBs: number,
  rows: readonly StepRow[],
): StepRow {
  const limitMs = bytes / readGBs / 1e6;
  const fp16 = rows.find((row) => row.bits === 16 && row.tokens === tokens);
  const speedup = bits === 16 ? 1 : fp16 ? fp16.ms.median / ms.median : null;
  const limitSpeedup = bits === 16 ? 1 : fp16 ? fp16.limitMs / limitMs : null;
  const of = speedup === null || limitSpeedup === null ? null : speedup / limitSpeedup;
  return {
    ...{ bits, tokens, ms, bytes, limitMs, ofLimit: limitMs / ms.median },
    ...{ speedupOverFp16: speedup, limitSpeedup, ofLimitSpeedup: of },
  };
}

/** The row, or why there is none. */
async function measure(
  device: BenchDevice,
  plan: RowPlan,
  readGBs: number,
  rows: readonly StepRow[],
  { runs, seed }: BenchOptions,
): Promise<StepRow | { kind: 'unsupported' | 'wrong' | 'error'; message: string }> {
  const c = caseOf(plan);
  const problem = nativeProblem(c, 0);
  const prepared = await device.call({ call: 'prepare', problem, append: true, seed });
  if (prepared.kind !== 'done') return { kind: prepared.kind, message: prepared.message };
  const slice = await device.call({ call: 'head', request: 0, kvHead: plan.tokens % 8 });
  if (slice.kind !== 'done') return { kind: 'error', message: slice.message };
  await device.call({ call: 'release' });
  const { device: facts, capabilities } = device.hello;
  const wrong = checkHead({ case: c, request: 0, slice, device: facts, capabilities });
  if (wrong !== null) return { kind: 'wrong', message: wrong };
  const made = await device.call({ call: 'stepPrepare', problem, ...MODEL, seed });
  if (made.kind !== 'done') return { kind: 'error', message: made.message };
  const answer = await device.call({ call: 'stepTime', runs });
  if (answer.kind !== 'done') return { kind: 'error', message: answer.message };
  const bytes = made.weightBytes + made.cacheBytes;
  return stepRow(plan, quantiles(answer.ms), bytes, readGBs, rows);
}

export async function runStepBench(
  device: BenchDevice,
  options: BenchOptions,
): Promise<StepResult> {
  const ceilings = await device.call({ call: 'ceilings', runs: 20 });
  if (ceilings.kind !== 'done') {
    return { kind: 'error', exitCode: 3, message: ceilings.message };
  }
  const { readGBs } = ceilings;
  options.say(`read ${readGBs.toFixed(0)} GB/s`);
  const rows: StepRow[] = [];
  for (const length of STEP_LENGTHS) {
    for (const bits of WIDTHS) {
      const plan = stepPlan(bits, length - WINDOW_TOKENS);
      const row = await measure(device, plan, readGBs, rows, options);
      await device.call({ call: 'release' });
      if ('ms' in row) {
        rows.push(row);
        options.say(stepLine(row));
        continue;
      }
      const message = `${plan.tokens} tokens, ${bits} bits: ${row.message}`;
      if (row.kind !== 'unsupported') {
        return { kind: 'error', exitCode: row.kind === 'wrong' ? 1 : 3, message };
      }
      options.say(`left out: ${message}`);
    }
  }
  if (rows.length > 0) return { kind: 'rows', readGBs, rows };
  return { kind: 'error', exitCode: 3, message: 'the kernel supports none of the rows' };
}

function stepLine({ bits, tokens, ms, ofLimit, ...row }: StepRow): string {
  const { speedupOverFp16: speedup, limitSpeedup, ofLimitSpeedup } = row;
  const times = `${ms.median.toFixed(3)} ms (${ms.p10.toFixed(3)} to ${ms.p90.toFixed(3)})`;
  const start = `${String(tokens).padStart(6)} tokens ${String(bits).padStart(2)} bits  ${times}`;
  const line = `${start}, ${ofLimit.toFixed(3)} of the limit`;
  if (speedup === null || limitSpeedup === null || ofLimitSpeedup === null) return line;
  return (
    `${line}, ${speedup.toFixed(3)} x fp16, the limit allows ${limitSpeedup.toFixed(3)}: ` +
    `${(100 * ofLimitSpeedup).toFixed(1)} %`
  );
}
