// What `bench kernel` and `bench decode-step` do without a clock: rows and their bytes, the check
// of a head with right and wrong results, the arithmetic of a row, and what a machine without a GPU
// says.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Ran } from '../../properties/kernel.js';
import { materialize, noSource } from '../../properties/materialize.js';
import { packageRoot } from '../campaign/package-root.js';
import { openKernel } from '../kernels/open.js';
import { checkHead, type HeadCheck } from './check-head.js';
import { BenchDevice, type HeadSlice } from './device.js';
import { type KernelRow, kernelRow } from './kernel-bench.js';
import { caseOf, type RowPlan, rowPlans, trafficOf } from './kernel-rows.js';
import { quantiles } from './statistics.js';
import { stepRow } from './step-bench.js';

const scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 } as const;

describe('rows', () => {
  it('have the fp16 cache of a shape before its other widths', () => {
    const seen = new Set<string>();
    for (const { op, batch, queryHeads, kvHeads, tokens, scheme: s } of rowPlans()) {
      const shape = [op, batch, queryHeads, kvHeads, tokens].join(' ');
      if (s.bits === 16) seen.add(shape);
      else if (op === 'decode') expect(seen).toContain(shape);
    }
    expect(seen.size).toBeGreaterThanOrEqual(5);
  });

  it('count the bytes of records, windows and vectors', () => {
    const row = { batch: 2, queryHeads: 4, kvHeads: 2, tokens: 300, scheme } as const;
    const record = 17_408;
    const decode = 4 * 2 * record + 4 * 44 * 512 + 2 * 2 * 4 * 128 * 2;
    expect(trafficOf({ op: 'decode', ...row })).toEqual({ bytes: decode, ceiling: 'read' });
    const quantize = 4 * 2 * record + 4 * (300 + 44) * 512;
    expect(trafficOf({ op: 'quantize', ...row })).toEqual({ bytes: quantize, ceiling: 'copy' });
    expect(trafficOf({ op: 'append', ...row }).bytes).toBe(4 * 2 * 512);
    const full = { ...row, tokens: 256 };
    expect(trafficOf({ op: 'append', ...full }).bytes).toBe(4 * (2 * 512 + 128 * 512 + record));
  });

  it('compare with the limit and with the fp16 cache', () => {
    const fp16 = { op: 'decode', bits: 16, batch: 1, queryHeads: 8, kvHeads: 2, tokens: 4096 };
    const before = [{ ...fp16, ms: { median: 8, p10: 7, p90: 9 } } as KernelRow];
    const plan: RowPlan = {
      op: 'decode',
      batch: 1,
      queryHeads: 8,
      kvHeads: 2,
      tokens: 4096,
      scheme,
    };
    const ms = quantiles([4, 2, 3, 1, 0]);
    expect(ms).toEqual({ median: 2, p10: 0.4, p90: 3.6 });
    const row = kernelRow(plan, ms, { copyGBs: 1, readGBs: 2 }, before);
    expect(row.limitMs).toBeCloseTo(trafficOf(plan).bytes / 2e6, 12);
    expect(row.ofLimit).toBeCloseTo(row.limitMs / 2, 12);
    expect(row.speedupOverFp16).toBe(4);
    expect(
      kernelRow({ ...plan, tokens: 8192 }, ms, { copyGBs: 1, readGBs: 2 }, before),
    ).toMatchObject({ speedupOverFp16: null });
  });

  it('of a step compare with the speed-up that the bytes allow', () => {
    const plan: RowPlan = {
      op: 'append',
      batch: 1,
      queryHeads: 32,
      kvHeads: 8,
      tokens: 64,
      scheme,
    };
    const at = (median: number) => ({ median, p10: median, p90: median });
    const sixteen = { ...plan, scheme: { ...scheme, format: 'fp16', bits: 16 } } as const;
    const first = stepRow(sixteen, at(10), 8e9, 1000, []);
    expect(first).toMatchObject({ limitMs: 8, ofLimit: 0.8, speedupOverFp16: 1, limitSpeedup: 1 });
    const row = stepRow(plan, at(6), 4e9, 1000, [first]);
    expect(row.limitSpeedup).toBe(2);
    expect(row.ofLimitSpeedup).toBeCloseTo(10 / 6 / 2, 12);
    expect(stepRow(plan, at(6), 4e9, 1000, []).ofLimitSpeedup).toBe(null);
  });
});

/** What the clock would read of one head: 300 tokens, KV head 1 of 2, request 1 of 2. */
function slice(): HeadCheck {
  const plan: RowPlan = { op: 'decode', batch: 2, queryHeads: 6, kvHeads: 2, tokens: 300, scheme };
  const normal = { distribution: 'normal', seed: 7, scale: 0, offset: 0 } as const;
  const c = { ...caseOf(plan), tensors: { q: normal, k: normal, v: normal } };
  const opened = openKernel('sim:sm_90', { checked: false });
  const made = materialize(c, noSource);
  if (opened.kind === 'error' || made.kind === 'error') throw new Error('no kernel or no inputs');
  const { kernel } = opened;
  const ran = kernel.run(c, made.inputs, { poison: 0xff }) as Ran;
  const { q, k, v } = made.inputs;
  const rows = (x: Uint16Array, first: number, count: number) =>
    Uint16Array.from({ length: count * 128 }, (_, i) => {
      return x[((first + Math.floor(i / 128)) * 2 + 1) * 128 + (i % 128)];
    });
  const record = ran.cache.length / 8;
  const cache = new Uint8Array(2 * record);
  for (let i = 0; i < 2; i++) {
    const at = ((2 + i) * 2 + 1) * record;
    cache.set(ran.cache.subarray(at, at + record), i * record);
  }
  const head: HeadSlice = {
    q: q.slice((6 + 3) * 128, 12 * 128),
    ...{ k: rows(k, 300, 300), v: rows(v, 300, 300), cache },
    kResidual: rows(ran.kResidual, 128, 128),
    vResidual: rows(ran.vResidual, 128, 128),
    output: ran.output.slice((6 + 3) * 128, 12 * 128),
    lse: ran.lse.slice(9, 12),
  };
  const { device, capabilities } = kernel;
  kernel.close();
  return { case: c, request: 1, slice: head, device, capabilities };
}

describe('the check before the clock', () => {
  const right = slice();
  const spoiled = (change: (head: HeadSlice) => void) => {
    const copy = structuredClone(right.slice);
    change(copy);
    return checkHead({ ...right, slice: copy });
  };

  it('accepts a right head', () => {
    expect(checkHead(right)).toBe(null);
  });

  it('rejects a wrong code, a wrong window, a wrong output and the output of another head', () => {
    expect(spoiled(({ cache }) => (cache[5] ^= 16))).toMatch(/^exact-codes: /);
    expect(spoiled(({ vResidual }) => (vResidual[43 * 128] ^= 1))).toMatch(/^exact-codes: /);
    expect(spoiled(({ output }) => output.fill(0))).toMatch(/^error-bound: /);
    expect(spoiled(({ output }) => output.copyWithin(0, 128))).toMatch(/^error-bound: /);
    expect(spoiled(({ lse }) => (lse[1] = Number.NaN))).toMatch(/^error-bound: /);
  });
});

describe('without a GPU', () => {
  it('an emulated kernel is not timed', async () => {
    const opened = await BenchDevice.open(
      'sim:sm_90',
      60_000,
      join(packageRoot(), 'dist', 'fuzz', 'bench', 'device-worker.js'),
    );
    if (opened instanceof BenchDevice) throw new Error('it was opened');
    expect(opened).toMatchObject({ exitCode: 2, message: expect.stringContaining('only those') });
  });

  it.each(['kernel', 'decode-step'])('bench %s ends with one sentence and exit code 3', (verb) => {
    const cli = join(packageRoot(), 'dist', 'fuzz', 'cli.js');
    const args = [cli, 'bench', verb, '--kernel', 'cuda:1023'];
    const child = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 60_000 });
    expect(child.status).toBe(3);
    expect(child.stdout).toBe('');
    expect(child.stderr.trim().split('\n')).toHaveLength(1);
    expect(child.stderr).toMatch(new RegExp(`^kvproof bench ${verb}: cuda:1023: `));
  });
});
