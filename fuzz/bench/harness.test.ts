// bench harness: the rows that the command line's contract names, a row that is measured, and a
// child that dies. How fast anything is, no test can say.

import { availableParallelism } from 'node:os';
import { describe, expect, it } from 'vitest';
import { physicalCores } from './cores.js';
import { harnessPlans, measureRow } from './harness.js';

const names = (gpu: boolean) => harnessPlans(gpu).map(({ what }) => what);

describe('bench harness', () => {
  it('has the rows of the contract, and those of a GPU where one is', () => {
    expect(names(false)).toEqual(
      expect.arrayContaining(['sim.cases/s', 'sim.checked.cases/s', 'reference.MMAC/s']),
    );
    expect(names(false)).not.toContain('cuda.cases/s');
    expect(names(true)).toContain('cuda.cases/s');
  });

  it('measures one process and as many as there are cores by the same clock', () => {
    const cores = availableParallelism();
    const plans = harnessPlans(false).filter(({ what }) => what.startsWith('sim.wall.'));
    const counts = [...new Set([1, physicalCores(), cores])];
    expect(plans.map(({ processes }) => processes)).toEqual(counts);
    expect(new Set(plans.map(({ task }) => JSON.stringify(task))).size).toBe(1);
  });

  it('measures the emulated kernel, and refuses what is no kernel library', async () => {
    const built = new URL('../../dist/fuzz/bench/harness-worker.js', import.meta.url).pathname;
    const row = await measureRow({ kind: 'kernel', uri: 'sim:sm_90', checked: false }, built);
    expect(row.kind === 'value' ? row.value : row).toBeGreaterThan(1);
    const none = await measureRow({ kind: 'kernel', uri: 'ref:', checked: false }, built);
    expect(none).toMatchObject({ kind: 'error', exitCode: 2 });
  });

  it('says why a row has no value', async () => {
    const answer = await measureRow({ kind: 'attention' }, '/nonexistent.js');
    expect(answer).toMatchObject({ kind: 'error', exitCode: 3 });
  });
});
