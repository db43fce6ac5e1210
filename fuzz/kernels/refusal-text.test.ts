// What a library says when it refuses: within the room it is given, and true where it states a
// limit; and that it reads no more lengths than there are. The library is compiled here with one
// fault each and asked in a child, which one of them ends.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import type { Unrefused } from '../../properties/kernel.js';
import { packageRoot } from '../campaign/package-root.js';
import { builtLibrary } from './built-library.js';

const folder = mkdtempSync(join(tmpdir(), 'kvproof-refusal-text-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const problem = {
  ...{ format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128, splits: 0 },
  ...{ queryHeads: 4, kvHeads: 2, headSize: 128, tokens: [3, 0, 130], softmaxScale: 0.5 },
  ...{ queryTokens: 1, type: 'fp16', inputPadding: 0 },
  ...{ appended: 0, pageTableStride: 0, poolPages: 0 },
};

const ASK = `
  const [addonPath, path, problem] = process.argv.slice(1);
  const addon = require(addonPath);
  const { handle } = addon.open(path, { ordinal: 0, sm: 0 });
  console.log(JSON.stringify(addon.unrefused(handle, JSON.parse(problem))));
`;

function ask(fault: string): { signal: string | null; unrefused: Unrefused[] } {
  const path = join(folder, `${fault}.so`);
  const source = join(packageRoot(), 'native', 'host', 'testdata', 'limits_kernel.c');
  const args = ['-shared', '-fPIC', '-O1', `-DFAULT=${fault}`, '-o', path, source];
  const compiled = spawnSync(process.env.CC ?? 'cc', args, { encoding: 'utf8', timeout: 60_000 });
  if (compiled.status !== 0) throw new Error(`${source}: not compiled: ${compiled.stderr}`);
  const built = builtLibrary('kvproof.node');
  if (built.kind === 'error') throw new Error(built.message);
  const given = ['-e', ASK, built.path, path, JSON.stringify(problem)];
  const asked = spawnSync(process.execPath, given, { encoding: 'utf8', timeout: 20_000 });
  if (asked.signal !== null) return { signal: asked.signal, unrefused: [] };
  if (asked.status !== 0) throw new Error(asked.stderr);
  return { signal: null, unrefused: JSON.parse(asked.stdout) };
}

const OF_TEXTS = /at most|for a text/;

it('finds nothing in what a right library says', () => {
  const { signal, unrefused } = ask('NO_FAULT');
  expect(signal).toBe(null);
  expect(unrefused.filter(({ fault }) => OF_TEXTS.test(fault))).toEqual([]);
});

for (const [fault, found] of [
  [
    'REFUSES_ITS_LIMIT',
    {
      fault: 'what problem.splits at most 12 allows',
      found: '"problem.splits: 12, at most 12"',
      required: 'no refusal for that reason',
    },
  ],
  [
    'EXCEEDS_ITS_LIMIT',
    {
      fault: 'one more than problem.splits at most 12',
      found: 'status 0',
      required: 'a refusal without a trace',
    },
  ],
  [
    'ENDLESS_TEXT',
    {
      fault: '0 requests with 8 bytes for a text',
      found: 'a text without an end',
      required: 'a text that ends within them',
    },
  ],
  [
    'TEXT_TOO_LONG',
    {
      fault: '0 requests with 8 bytes for a text',
      found: 'a text beyond its room',
      required: 'a text that ends within them',
    },
  ],
] as const) {
  it(`reports ${fault}`, () => {
    const { unrefused } = ask(fault);
    expect(unrefused).toContainEqual({ call: 'supports', ...found });
  });
}

it('ends a library that reads a length too many', () => {
  expect(ask('TOO_FAR').signal).toBe('SIGSEGV');
});
