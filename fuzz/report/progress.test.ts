// What is said while nothing can be shown yet.
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, expect, it, vi } from 'vitest';
import { Progress, Waiting } from './progress.js';

afterEach(() => vi.restoreAllMocks());

it('the time goes on while a case takes long, until the end', async () => {
  const said: string[] = [];
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => said.push(String(text)) > 0);
  const progress = new Progress(20);
  await pause(50);
  progress.update({ phase: 'cases', done: 3, planned: 9, failures: 0 });
  await pause(2300);
  progress.end();
  const lines = said.filter((line) => line.includes('cases: 3 of 9'));
  expect(lines.length).toBeGreaterThanOrEqual(3);
  expect(lines.at(-1)).toContain(', 2 s, nothing found');
  const before = said.length;
  await pause(1100);
  expect(said).toHaveLength(before);
});

it('what is waited for is said again and again, and no more after the end', async () => {
  const said: string[] = [];
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => said.push(String(text)) > 0);
  const waiting = new Waiting('opening mutant:x', 20);
  await pause(200);
  waiting.end();
  const before = said.length;
  expect(before).toBeGreaterThan(1);
  expect(said[0]).toBe('opening mutant:x, 0 s\n');
  await pause(100);
  expect(said).toHaveLength(before);
});
