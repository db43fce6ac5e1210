// kernel-bench.ts - the measurement of `bench kernel`: every row is checked first, and only when
// all of them are right is anything timed, on the same inputs.
//
// A row that the kernel does not support is left out and named. Limits come from the ceilings that
// were measured in the same run.

import { nativeProblem } from '../kernels/native-problem.js';
import { CheckPool } from './check-pool.js';
import type { BenchDevice } from './device.js';
import { caseOf, type RowPlan, rowPlans, trafficOf } from './kernel-rows.js';
import type { BenchError, BenchOptions } from './options.js';
import { type Quantiles, quantiles } from './statistics.js';

export interface KernelRow {
  readonly op: string;
  readonly bits: number;
  readonly group: number;
  readonly kAxis: string;
  readonly batch: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly tokens: number;
  readonly ms: Quantiles;
  /** What has to be moved at least. */
  readonly bytes: number;
  /** Those bytes at the ceiling that bounds them. */
  readonly limitMs: number;
  /** limitMs / ms.median */
  readonly ofLimit: number;
  /** Of decode, over the fp16 cache at the same shape; null where there is none. */
  readonly speedupOverFp16: number | null;
}

export interface Ceilings {
  readonly copyGBs: number;
  readonly readGBs: number;
}

export type BenchResult =
  | { readonly kind: 'rows'; readonly ceilings: Ceilings; readonly rows: readonly KernelRow[] }
  | BenchError;

const CEILING_RUNS = 20;

export function planName(plan: RowPlan): string {
  const { op, scheme: s, batch, queryHeads, kvHeads, tokens } = plan;
  const group = s.bits === 16 ? '' : `/${s.group}${s.kAxis === 'token' ? 't' : ''}`;
  return `${op} ${s.bits}${group} batch ${batch}, ${queryHeads}/${kvHeads} heads, ${tokens} tokens`;
}

function prepareRequest(plan: RowPlan, seed: number) {
  const problem = nativeProblem(caseOf(plan), 0);
  return { call: 'prepare', problem, append: plan.op === 'append', seed } as const;
}

class Failure extends Error {
  constructor(
    readonly exitCode: 1 | 3,
    message: string,
  ) {
    super(message);
  }
}

/** The plans that the kernel supports, each with a head that was right. */
async function checked(device: BenchDevice, { seed, say }: BenchOptions): Promise<RowPlan[]> {
  const pool = new CheckPool();
  const { capabilities } = device.hello;
  const supported: RowPlan[] = [];
  const checks: Promise<void>[] = [];
  for (const [index, plan] of rowPlans().entries()) {
    const prepared = await device.call(prepareRequest(plan, seed));
    if (prepared.kind === 'unsupported') {
      say(`left out: ${planName(plan)}: ${prepared.message}`);
      await device.call({ call: 'release' });
      continue;
    }
    if (prepared.kind === 'error') throw new Failure(3, `${planName(plan)}: ${prepared.message}`);
    // Other heads and requests from row to row.
    const request = index % plan.batch;
    const kvHead = (index * 5 + 3) % plan.kvHeads;
    const head = await device.call({ call: 'head', request, kvHead });
    if (head.kind !== 'done') throw new Failure(3, `${planName(plan)}: ${head.message}`);
    await device.call({ call: 'release' });
    supported.push(plan);
    const check = { case: caseOf(plan), request, slice: head, device: device.hello.device };
    checks.push(
      pool.check({ ...check, capabilities }).then((wrong) => {
        if (wrong !== null) throw new Failure(1, `${planName(plan)}: ${wrong}`);
      }),
    );
  }
  await Promise.all(checks);
  say(`${supported.length} rows are right: codes bit for bit, attention within its bound`);
  return supported;
}

async function timed(device: BenchDevice, plan: RowPlan, options: BenchOptions) {
  const prepared = await device.call(prepareRequest(plan, options.seed));
  if (prepared.kind !== 'done') throw new Failure(3, `${planName(plan)}: ${prepared.message}`);
  const answer = await device.call({ call: 'time', op: plan.op, runs: options.runs });
  await device.call({ call: 'release' });
  if (answer.kind !== 'done') throw new Failure(3, `${planName(plan)}: ${answer.message}`);
  return quantiles(answer.ms);
}

/** Of a row from its times; `rows` are those before it, with the fp16 cache at the same shape. */
export function kernelRow(
  plan: RowPlan,
  ms: Quantiles,
  { copyGBs, readGBs }: Ceilings,
  rows: readonly KernelRow[],
): KernelRow {
  const { op, scheme: s, batch, queryHeads, kvHeads, tokens } = plan;
  const { bytes, ceiling } = trafficOf(plan);
  const limitMs = bytes / (ceiling === 'read' ? readGBs : copyGBs) / 1e6;
  const shape = { batch, queryHeads, kvHeads, tokens };
  const fp16 = rows.find(
    (row) =>
      op === 'decode' &&
      row.op === 'decode' &&
      row.bits === 16 &&
      Object.entries(shape).every(([key, value]) => row[key as keyof typeof shape] === value),
  );
  return {
    ...{ op, bits: s.bits, group: s.group, kAxis: s.kAxis, ...shape },
    ...{ ms, bytes, limitMs, ofLimit: limitMs / ms.median },
    speedupOverFp16:
      s.bits === 16 && op === 'decode' ? 1 : fp16 ? fp16.ms.median / ms.median : null,
  };
}

export async function runKernelBench(
  device: BenchDevice,
  options: BenchOptions,
): Promise<BenchResult> {
  try {
    const ceilings = await device.call({ call: 'ceilings', runs: CEILING_RUNS });
    if (ceilings.kind !== 'done') throw new Failure(3, ceilings.message);
    const { copyGBs, readGBs } = ceilings;
    options.say(`copy ${copyGBs.toFixed(0)} GB/s, read ${readGBs.toFixed(0)} GB/s`);
    const plans = await checked(device, options);
    const rows: KernelRow[] = [];
    for (const plan of plans) {
      const ms = await timed(device, plan, options);
      const row = kernelRow(plan, ms, { copyGBs, readGBs }, rows);
      rows.push(row);
      options.say(rowLine(plan, row));
    }
    if (rows.length === 0) throw new Failure(3, 'the kernel supports none of the rows');
    return { kind: 'rows', ceilings: { copyGBs, readGBs }, rows };
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return { kind: 'error', exitCode: error.exitCode, message: error.message };
  }
}

function rowLine(plan: RowPlan, { ms, ofLimit, speedupOverFp16 }: KernelRow): string {
  const times = `${ms.median.toFixed(4)} ms (${ms.p10.toFixed(4)} to ${ms.p90.toFixed(4)})`;
  const speedup = speedupOverFp16 === null ? '' : `, ${speedupOverFp16.toFixed(2)} x fp16`;
  return `${planName(plan).padEnd(62)} ${times}, ${ofLimit.toFixed(3)} of the limit${speedup}`;
}
