// Cores behind hardware threads, as Linux tells them.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { physicalCores } from './cores.js';

const root = mkdtempSync(join(tmpdir(), 'kvproof-cores-'));
afterEach(() => rmSync(root, { recursive: true, force: true }));

describe('physical cores', () => {
  it('counts two hardware threads of a core as one, of the processors that may be used', () => {
    mkdirSync(join(root, 'proc/self'), { recursive: true });
    writeFileSync(join(root, 'proc/self/status'), 'Name:\tnode\nCpus_allowed_list:\t0,2-3\n');
    for (const [cpu, siblings] of ['0,2', '1,3', '0,2', '1,3'].entries()) {
      const topology = join(root, `sys/devices/system/cpu/cpu${cpu}/topology`);
      mkdirSync(topology, { recursive: true });
      writeFileSync(join(topology, 'thread_siblings_list'), `${siblings}\n`);
    }
    expect(physicalCores(root)).toBe(Math.min(2, availableParallelism()));
  });

  it('is the number of processors where nothing is said', () => {
    expect(physicalCores('/nonexistent')).toBe(availableParallelism());
    expect(physicalCores()).toBeLessThanOrEqual(availableParallelism());
  });
});
