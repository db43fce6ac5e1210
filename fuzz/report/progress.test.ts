// What is said while nothing can be shown yet.
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, expect, it, vi } from 'vitest';
import { Waiting } from './progress.js';

afterEach(() => vi.restoreAllMocks());

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
