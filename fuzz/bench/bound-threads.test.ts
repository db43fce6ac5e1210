// Tests of bounds on several threads: the bits of one call, whatever the number of threads.
import { describe, expect, it } from 'vitest';
import { boundL1 } from '../../reference/bound.js';
import { boundL2 } from '../../reference/bound-l2.js';
import { readCache, referenceCache } from '../../reference/cache.js';
import { type BoundCall, boundOnThreads, rowsTasks } from './bound-threads.js';

const worker = new URL('../../dist/fuzz/bench/bound-worker.js', import.meta.url);

function call(queryTokens: number): BoundCall {
  const problem = {
    ...{ tokens: [300, 0, 129], queryHeads: 12, kvHeads: 2, headSize: 64, queryTokens },
  };
  const scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 64 } as const;
  const words = (count: number, step: number) =>
    Uint16Array.from({ length: count }, (_, i) => 0x3000 + ((i * step) % 4096));
  const [k, v] = [words(429 * 2 * 64, 37), words(429 * 2 * 64, 61)];
  const made = referenceCache(problem, scheme, k, v);
  const heads = readCache(problem, scheme, made.cache, made.kResidual, made.vResidual);
  return {
    ...{ problem, softmaxScale: 0.125, heads, splits: 2 },
    q: words(3 * queryTokens * 12 * 64, 91),
    arithmetic: {
      ...{ operands: 'folded', fraction: 25, fusedProducts: 16, sumLanes: 8 },
      schedule: { warps: [[8192, 4]] },
    },
  };
}

describe('bounds on several threads', () => {
  it.each([1, 3])('are those of one call, for %d query tokens', async (queryTokens) => {
    const own = call(queryTokens);
    const { problem, softmaxScale, q, heads, arithmetic } = own;
    const l1 = boundL1(problem, softmaxScale, q, heads, arithmetic);
    const l2 = boundL2(problem, softmaxScale, q, heads, arithmetic, 2, l1);
    for (const threads of [1, 3]) {
      const found = await boundOnThreads(own, threads, worker);
      expect(found.l1).toEqual(l1);
      expect(found.l2).toEqual(l2);
    }
  });

  it('leave L2 out unless splits are known', async () => {
    const found = await boundOnThreads({ ...call(1), splits: null }, 2, worker);
    expect(found.l2).toBeNull();
  });

  it('are cut the same way whatever the threads, long requests first', () => {
    const tasks = rowsTasks(call(1));
    expect(tasks.map(({ head, q }) => [head.tokens, q.length / 64])).toEqual([
      ...[
        [300, 4],
        [300, 2],
        [300, 4],
        [300, 2],
      ],
      ...[
        [129, 4],
        [129, 2],
        [129, 4],
        [129, 2],
      ],
      ...[
        [0, 4],
        [0, 2],
        [0, 4],
        [0, 2],
      ],
    ]);
  });

  it('a thread that cannot start is an error', async () => {
    const missing = new URL('file:///nonexistent.js');
    await expect(boundOnThreads(call(1), 2, missing)).rejects.toThrow();
  });
});
