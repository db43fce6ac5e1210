// Tests of how tasks are shared out and what is stored of them.

import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { statistics } from './statistics.js';
import { type PlannedTask, TaskQueue } from './study-pool.js';
import { StudyRecords } from './study-records.js';

const planned = (key: string): PlannedTask => ({
  key,
  place: key[0],
  task: { study: 'perplexity', window: 0, config: null },
});

describe('TaskQueue', () => {
  it('keeps a process at its place, then sends it where most is left', () => {
    const queue = new TaskQueue(['a1', 'a2', 'b1', 'b2', 'b3', 'c1'].map(planned));
    expect(queue.take(null)?.key).toBe('b1');
    expect(queue.take(null)?.key).toBe('a1');
    expect(queue.take('b')?.key).toBe('b2');
    expect(queue.take('a')?.key).toBe('a2');
    expect(queue.take('a')?.key).toBe('c1');
    expect(queue.take('c')?.key).toBe('b3'); // helps out
    expect(queue.take('b')).toBeNull();
  });
});

describe('StudyRecords', () => {
  const folder = mkdtempSync(join(tmpdir(), 'kvproof-study-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const open = (resume: boolean, kernel = 'ref:') => {
    const opened = StudyRecords.open(folder, { study: 'x', kernel }, resume);
    if (opened.kind === 'error') throw new Error(opened.message);
    return opened.records;
  };

  it('goes on from what was stored, without a line that was cut off', () => {
    open(false).add('one', { sum: 1 });
    const path = join(folder, 'records.jsonl');
    appendFileSync(path, '{"key":"two","va');
    const again = open(true);
    expect([...again.values]).toEqual([['one', { sum: 1 }]]);
    again.add('three', 3);
    expect([...open(true).values.keys()]).toEqual(['one', 'three']);
    expect(readFileSync(path, 'utf8')).not.toContain('two');
  });

  it('refuses records of another run and says which field differs', () => {
    open(false);
    expect(() => open(true, 'sim:sm_90')).toThrow('kernel is "ref:", this run has "sim:sm_90"');
  });

  it('starts anew without resume', () => {
    open(false).add('one', 1);
    expect(open(false).values.size).toBe(0);
  });
});

describe('statistics', () => {
  it('gives quantiles between order statistics', async () => {
    const { quantiles } = await statistics(1);
    expect(quantiles([4, 1, 3, 2], [0, 0.5, 1])).toEqual([1, 2.5, 4]);
  });

  it('gives intervals that hold the mean, shrink with units and follow the seed', async () => {
    const { bootstrap, mean } = await statistics(1);
    const interval = (units: number) => {
      const found = bootstrap(units, (sample) => mean(sample.map((i) => i % 10)));
      if (found === null) throw new Error('no interval');
      return found;
    };
    const [few, many] = [interval(10), interval(160)];
    expect(few[0]).toBeLessThan(4.5);
    expect(few[1]).toBeGreaterThan(4.5);
    expect(many[1] - many[0]).toBeLessThan((few[1] - few[0]) / 2);
    expect(interval(10)).toEqual(few);
    expect(bootstrap(1, () => 0)).toBeNull();
  });
});
