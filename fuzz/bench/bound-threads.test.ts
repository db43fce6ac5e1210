// Tests of bounds on several threads: the bits of one call, whatever the number of threads.
import { serialize } from 'node:v8';
import { describe, expect, it } from 'vitest';
import { boundL1 } from '../../reference/bound.js';
import { boundL2 } from '../../reference/bound-l2.js';
import { readCache, referenceCache } from '../../reference/cache.js';
import { type BoundCall, BoundThreads, rowsTasks } from './bound-threads.js';

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
    for (const count of [1, 3]) {
      const threads = new BoundThreads(count, worker);
      for (const again of [1, 2]) {
        const found = await threads.bound(own);
        expect(serialize(found.l1).equals(serialize(l1)), `L1 of call ${again}`).toBe(true);
        expect(serialize(found.l2).equals(serialize(l2)), `L2 of call ${again}`).toBe(true);
      }
      await threads.close();
    }
  });

  it('leave L2 out unless splits are known', async () => {
    const threads = new BoundThreads(2, worker);
    const found = await threads.bound({ ...call(1), splits: null });
    expect(found.l2).toBeNull();
    await threads.close();
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
    const threads = new BoundThreads(2, new URL('file:///nonexistent.js'));
    await expect(threads.bound(call(1))).rejects.toThrow();
    await expect(threads.bound(call(1))).rejects.toThrow(); // not a wait for a thread that is gone
    await threads.close();
  });
});
