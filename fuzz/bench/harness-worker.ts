// harness-worker.ts - one row of `bench harness`, measured in this process and sent to its parent.
//
// A process of its own for each row: kernels run in a child that a deadline can end, and no row
// warms up another. Time is CPU time of this process where it works on one thread, so that other
// work on the machine does not count; for a GPU it is the clock on the wall.

import { performance } from 'node:perf_hooks';
import { multiplyAdds } from '../../properties/case.js';
import { attend } from '../../reference/attention.js';
import { anyArithmetic, boundL1 } from '../../reference/bound.js';
import { readCache, referenceCache } from '../../reference/cache.js';
import { openKernel } from '../kernels/open.js';
import { harnessCase, harnessInputs, KERNEL_TOKENS, REFERENCE_TOKENS } from './harness-case.js';

/** What to measure. */
export type HarnessTask =
  | { readonly kind: 'kernel'; readonly uri: string; readonly checked: boolean }
  | { readonly kind: 'attention' }
  | { readonly kind: 'bound' };

export type HarnessAnswer =
  | { readonly kind: 'value'; readonly value: number }
  | { readonly kind: 'error'; readonly exitCode: 2 | 3; readonly message: string };

const SECONDS = 2;

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Calls a second of `clock`: after one call to warm up, for SECONDS, the best of three. */
function perSecond(call: () => void, clock: () => number): number {
  call();
  let best = 0;
  for (let part = 0; part < 3; part++) {
    const start = clock();
    let calls = 0;
    let passed = 0;
    do {
      call();
      calls++;
      passed = clock() - start;
    } while (passed < SECONDS / 3);
    best = Math.max(best, calls / passed);
  }
  return best;
}

function kernelRate(uri: string, checked: boolean): HarnessAnswer {
  const opened = openKernel(uri, { checked });
  if (opened.kind === 'error') return opened;
  const { kernel } = opened;
  const c = harnessCase(KERNEL_TOKENS);
  const inputs = harnessInputs(c);
  const clock = kernel.capabilities.emulated ? cpuSeconds : () => performance.now() / 1000;
  const value = perSecond(() => {
    const ran = kernel.run(c, inputs, { poison: 0xff });
    if (ran.kind !== 'ran') throw new Error(`${uri}: ${ran.reason}`);
  }, clock);
  kernel.close();
  return { kind: 'value', value };
}

/** Millions of multiply-adds of attention itself a second, with or without its bound. */
function referenceRate(withBound: boolean): HarnessAnswer {
  const c = harnessCase(REFERENCE_TOKENS);
  const { problem, scheme, options } = c;
  const { q, k, v } = harnessInputs(c);
  const made = referenceCache(problem, scheme, k, v);
  const heads = readCache(problem, scheme, made.cache, made.kResidual, made.vResidual);
  const arithmetic = { ...anyArithmetic, operands: 'folded' } as const;
  const call = withBound
    ? () => boundL1(problem, options.softmaxScale, q, heads, arithmetic)
    : () => attend(problem, options.softmaxScale, q, heads);
  return { kind: 'value', value: (perSecond(call, cpuSeconds) * multiplyAdds(problem)) / 1e6 };
}

function measure(task: HarnessTask): HarnessAnswer {
  switch (task.kind) {
    case 'kernel':
      return kernelRate(task.uri, task.checked);
    case 'attention':
      return referenceRate(false);
    case 'bound':
      return referenceRate(true);
  }
}

process.once('message', (task: HarnessTask) => {
  let answer: HarnessAnswer;
  try {
    answer = measure(task);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    answer = { kind: 'error', exitCode: 3, message };
  }
  process.send?.(answer, () => process.disconnect());
});
