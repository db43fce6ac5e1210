// The addon under arguments that nobody should pass: in a process of its own, against a library
// that does what it is told. No call may end the process, and each refusal is one sentence.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../campaign/package-root.js';

const testdata = join(packageRoot(), 'native', 'host', 'testdata');
const addon = join(packageRoot(), 'build', 'Release', 'kvproof.node');
const folder = mkdtempSync(join(tmpdir(), 'kvproof-native-'));
const library = join(folder, 'echo.so');

beforeAll(() => {
  expect(existsSync(addon), `${addon}: not found, required a build (npm run build)`).toBe(true);
  const source = join(testdata, 'echo_kernel.c');
  const args = ['-shared', '-fPIC', '-O1', '-o', library, source];
  const built = spawnSync(process.env.CC ?? 'cc', args, { encoding: 'utf8', timeout: 60_000 });
  expect(built.status, built.stderr).toBe(0);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the addon', () => {
  for (const seed of [1, 2]) {
    it(`survives 1,500 hostile calls of seed ${seed} and still runs right`, () => {
      const script = join(testdata, 'hostile_calls.mjs');
      const args = [script, addon, library, String(seed), '1500'];
      const child = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 50_000 });
      expect(child.signal, child.stderr).toBe(null);
      expect(child.status, child.stderr).toBe(0);
      const counts = JSON.parse(child.stdout);
      expect(counts.calls).toBeGreaterThan(1000);
      expect(counts.threw).toBeGreaterThan(100);
      expect(counts.sentences).toBe(counts.threw);
      expect(counts.rightAfterwards).toBe(true);
    });
  }
});
