// harness-worker.ts - one row of `bench harness`, measured in this process and sent to its parent.
//
// A process of its own for each row: kernels run in a child that a deadline can end, and no row
// warms up another. Time is CPU time of this process where it works on one thread, so that other
// work on the machine does not count; for a GPU it is the clock on the wall.

import { availableParallelism } from 'node:os';
import { multiplyAdds } from '../../properties/case.js';
import { attend } from '../../reference/attention.js';
import { anyArithmetic, boundL1 } from '../../reference/bound.js';
import { boundL2 } from '../../reference/bound-l2.js';
import { readCache, referenceCache } from '../../reference/cache.js';
import { dotModel } from '../../reference/mma.js';
import { NativeKernel } from '../kernels/native.js';
import { openKernel } from '../kernels/open.js';
import { type BoundCall, BoundThreads } from './bound-threads.js';
import { harnessCase, harnessInputs, KERNEL_TOKENS, REFERENCE_TOKENS } from './harness-case.js';

/** What to measure. */
export type HarnessTask =
  | {
      readonly kind: 'kernel';
      readonly uri: string;
      readonly checked: boolean;
      /** By the clock on the wall, whatever the kernel: for processes that run at once. */
      readonly wall?: boolean;
    }
  | { readonly kind: 'attention' }
  | { readonly kind: 'bound' }
  | { readonly kind: 'range' }
  | { readonly kind: 'threads' };

export type HarnessAnswer =
  | { readonly kind: 'value'; readonly value: number }
  | { readonly kind: 'error'; readonly exitCode: 2 | 3; readonly message: string };

const SECONDS = 2;
/** The best part counts: other work on the machine only ever slows one down. */
const PARTS = 3;

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Calls a second of CPU time, after one call to warm up. */
function perSecond(call: () => void): number {
  call();
  let best = 0;
  for (let part = 0; part < PARTS; part++) {
    const start = cpuSeconds();
    let calls = 0;
    let passed = 0;
    do {
      call();
      calls++;
      passed = cpuSeconds() - start;
    } while (passed < SECONDS / PARTS);
    best = Math.max(best, calls / passed);
  }
  return best;
}

/**
 * Decodes a second, of a kernel behind the addon; its own clock says how long they take, or the one
 * on the wall, over all parts, since other work is what is to be seen then.
 */
function decodeRate(uri: string, checked: boolean, wall: boolean): HarnessAnswer {
  const opened = openKernel(uri, { checked });
  if (opened.kind === 'error') return opened;
  const { kernel } = opened;
  if (!(kernel instanceof NativeKernel)) {
    const message = `${uri}: is not a kernel library, only those are timed`;
    return { kind: 'error', exitCode: 2, message };
  }
  const c = harnessCase(KERNEL_TOKENS);
  const inputs = harnessInputs(c);
  const warm = kernel.decodeSeconds(c, inputs, 2);
  const decodes = Math.max(2, Math.round(SECONDS / PARTS / warm));
  const start = performance.now();
  let best = Number.POSITIVE_INFINITY;
  for (let part = 0; part < PARTS; part++) {
    best = Math.min(best, kernel.decodeSeconds(c, inputs, decodes));
  }
  const seconds = (performance.now() - start) / 1000;
  kernel.close();
  return { kind: 'value', value: wall ? (PARTS * decodes) / seconds : 1 / best };
}

/** The call of the reference that is timed, over its own cache. */
function referenceCall(): BoundCall {
  const c = harnessCase(REFERENCE_TOKENS);
  const { problem, scheme, options } = c;
  const { q, k, v } = harnessInputs(c);
  const made = referenceCache(problem, scheme, k, v);
  const heads = readCache(problem, scheme, made.cache, made.kResidual, made.vResidual);
  const { fraction, fusedProducts } = dotModel('sm_90');
  const schedule = { warps: [[8192, 4]], exponential: 'sm_90' } as const;
  const arithmetic = {
    operands: 'folded',
    fraction,
    fusedProducts,
    sumLanes: 8,
    schedule,
  } as const;
  return { problem, softmaxScale: options.softmaxScale, q, heads, arithmetic, splits: 1 };
}

/** Millions of multiply-adds of attention itself a second, alone or with a bound. */
function referenceRate(what: 'attention' | 'bound' | 'range'): HarnessAnswer {
  const { problem, softmaxScale, q, heads, arithmetic } = referenceCall();
  const widest = { ...anyArithmetic, operands: 'folded' } as const;
  const l1 = boundL1(problem, softmaxScale, q, heads, arithmetic);
  const calls = {
    attention: () => attend(problem, softmaxScale, q, heads),
    bound: () => boundL1(problem, softmaxScale, q, heads, widest),
    range: () => boundL2(problem, softmaxScale, q, heads, arithmetic, 1, l1),
  };
  return { kind: 'value', value: (perSecond(calls[what]) * multiplyAdds(problem)) / 1e6 };
}

/** How much faster all cores bound a case than one does, on the wall. */
async function threadsGain(): Promise<HarnessAnswer> {
  const call = { ...referenceCall(), splits: null };
  const heads = Array.from({ length: 16 }, (_, i) => call.heads[i % call.heads.length]);
  const problem = { ...call.problem, queryHeads: 64, kvHeads: 16 };
  const q = new Uint16Array(64 * 128);
  for (let i = 0; i < q.length; i++) q[i] = call.q[i % call.q.length];
  const seconds = async (count: number) => {
    const threads = new BoundThreads(count);
    const own = { ...call, problem, q, heads };
    for (let i = 0; i < 4; i++) await threads.bound(own); // each thread compiles its own code
    const start = performance.now();
    for (let i = 0; i < 4; i++) await threads.bound(own);
    const passed = (performance.now() - start) / 1000;
    await threads.close();
    return passed;
  };
  const one = await seconds(1);
  return { kind: 'value', value: one / (await seconds(availableParallelism())) };
}

function measure(task: HarnessTask): HarnessAnswer | Promise<HarnessAnswer> {
  switch (task.kind) {
    case 'kernel':
      return decodeRate(task.uri, task.checked, task.wall === true);
    case 'threads':
      return threadsGain();
    default:
      return referenceRate(task.kind);
  }
}

process.once('message', async (task: HarnessTask) => {
  let answer: HarnessAnswer;
  try {
    answer = await measure(task);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    answer = { kind: 'error', exitCode: 3, message };
  }
  process.send?.(answer, () => process.disconnect());
});
