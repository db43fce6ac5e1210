// Conformance from the outside: the reference and the templates keep every law, and each hostile
// plug-in breaks the one that it was written to break. Kernels run in worker processes, as they do
// for `kvproof conform`.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Lane } from '../campaign/lane.js';
import { packageRoot } from '../campaign/package-root.js';
import { Workdir } from '../campaign/workdir.js';
import { conform, type LawResult } from './conform.js';

const plugin = join(packageRoot(), 'native', 'plugin');
const folder = mkdtempSync(join(tmpdir(), 'kvproof-conform-'));
const workerPath = join(packageRoot(), 'dist', 'fuzz', 'campaign', 'worker.js');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

beforeAll(() => {
  if (!existsSync(workerPath)) throw new Error(`${workerPath}: not found, run \`npm run build\``);
});

const python = 'python3';
const hasNumpy = spawnSync(python, ['-c', 'import numpy']).status === 0;
const quoted = (path: string) => `'${path}'`;

function library(name: string, source: string, ...flags: string[]): string {
  const path = join(folder, `${name}.so`);
  if (existsSync(path)) return `lib:${path}`;
  const args = ['-O1', '-std=c++20', '-shared', '-fPIC', `-I${plugin}`, ...flags, '-o', path];
  const built = spawnSync('g++', [...args, join(plugin, source)], { encoding: 'utf8' });
  if (built.status !== 0) throw new Error(`${source}: not compiled: ${built.stderr}`);
  return `lib:${path}`;
}

async function lawsOf(uri: string, deadlineMs = 20_000): Promise<Map<string, LawResult>> {
  const opened = Workdir.open(join(folder, 'work'));
  if (opened.kind === 'error') throw new Error(opened.message);
  const options = { uri, checked: false, workdir: opened.workdir, slot: 0, workerPath };
  const lane = await Lane.open(options);
  if (lane.kind === 'error') throw new Error(lane.message);
  try {
    const result = await conform(lane.lane, { deadlineMs, onCase: () => {} });
    if (result.kind === 'error') throw new Error(result.message);
    expect(result.cases).toBeGreaterThan(0);
    return new Map(result.laws.map((law) => [law.name, law]));
  } finally {
    await lane.lane.close();
  }
}

const failedLaws = (laws: Map<string, LawResult>) =>
  [...laws.values()].filter(({ status }) => status === 'fail').map(({ name }) => name);

describe('kernels that keep the laws', () => {
  it('the C++ template', async () => {
    const laws = await lawsOf(library('template', 'templates/kernel.cpp'));
    expect(failedLaws(laws)).toEqual([]);
    for (const name of ['returns', 'memory', 'declines', 'survives', 'cache', 'attention']) {
      expect(laws.get(name)?.status).toBe('pass');
      expect(laws.get(name)?.cases).toBeGreaterThan(0);
    }
  });

  it.skipIf(!hasNumpy)('the Python template', async () => {
    const laws = await lawsOf(`exec:${python} ${quoted(join(plugin, 'testdata/hostile.py'))} none`);
    expect(failedLaws(laws)).toEqual([]);
    expect(laws.get('cache')?.status).toBe('pass');
  });
});

describe('streams', () => {
  const on = (fault: string) =>
    library(fault, 'testdata/stream_kernel.cpp', `-DFAULT=${fault}`, '-pthread');

  it('a kernel that works on its stream keeps the law, and it is judged', async () => {
    const laws = await lawsOf(on('NONE'));
    expect(failedLaws(laws)).toEqual([]);
    expect(laws.get('stream')?.status).toBe('pass');
    expect(laws.get('stream')?.cases).toBeGreaterThan(0);
  });

  it.each(['DEFAULT_STREAM', 'DECODES_AT_ONCE'])('%s breaks "stream" alone', async (fault) => {
    expect(failedLaws(await lawsOf(on(fault)))).toEqual(['stream']);
  });

  it('a kernel on host memory has none, and the line says so', async () => {
    const law = (await lawsOf(library('template', 'templates/kernel.cpp'))).get('stream');
    expect(law).toMatchObject({ status: 'skip', message: expect.stringContaining('no stream') });
  });
});

describe('what is no kernel ends the command with exit code 2 and one sentence', () => {
  const cli = join(packageRoot(), 'dist', 'fuzz', 'cli.js');

  function compiled(name: string, source: string): string {
    const path = join(folder, `${name}.so`);
    const args = ['-shared', '-fPIC', '-x', 'c', '-o', path, '-'];
    const built = spawnSync('gcc', args, { input: source, encoding: 'utf8' });
    if (built.status !== 0) throw new Error(`${name}: not compiled: ${built.stderr}`);
    return `lib:${path}`;
  }
  const returning = (table: string) =>
    `const void* kvproof_kernel(void) { static const unsigned t[32] = ${table}; return t; }`;

  it.each([
    ['another version', () => compiled('version', returning('{7, 128}')), 'version 7 found'],
    ['a short table', () => compiled('short', returning('{2, 16}')), 'table of 16 bytes found'],
    ['an empty table', () => compiled('empty', returning('{2, 4096}')), 'name is null'],
    ['no symbol', () => compiled('none', 'int x;'), 'exports no function kvproof_kernel()'],
    ['no library', () => `lib:${join(plugin, 'README.md')}`, 'is not an ELF file'],
    ['no file', () => 'lib:/nowhere.so', 'cannot be read'],
    [
      'a process that prints garbage',
      () => 'exec:echo this is no kernel at all',
      // What it wrote may be there before the first question or only behind it.
      /a message starts with|before it was asked/,
    ],
    ['a process that ends', () => 'exec:exit 3', 'exit-3'],
  ])('%s', (_name, uri, why) => {
    const args = [cli, 'conform', uri(), '--workdir', join(folder, 'none')];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    expect([status, stdout]).toEqual([2, '']);
    const sentence =
      typeof why === 'string' ? expect.stringContaining(why) : expect.stringMatching(why);
    expect(stderr.trim().split('\n')).toEqual([sentence]);
  });
});

describe('libraries that break a law', () => {
  it.each([
    ['WRITES_PAST', 'memory'],
    ['CHANGES_INPUT', 'inputs'],
    ['NONDETERMINISTIC', 'same-answer'],
    ['ABORTS', 'returns'],
    ['REFUSES_AT_RUN', 'returns'],
    ['ACCEPTS_EVERYTHING', 'declines'],
    ['WRONG_CODES', 'cache'],
    ['DROPS_TOKEN', 'attention'],
    ['LONG_CACHE', 'sizes'],
    ['SHORT_CACHE', 'sizes'],
  ])('%s breaks "%s"', async (fault, law) => {
    const uri = library(fault, 'testdata/hostile_kernel.cpp', `-DFAULT=${fault}`);
    expect(failedLaws(await lawsOf(uri))).toContain(law);
  });

  it('HANGS breaks "returns", and the run ends', async () => {
    const uri = library('HANGS', 'testdata/hostile_kernel.cpp', '-DFAULT=HANGS');
    const laws = await lawsOf(uri, 1000);
    expect(laws.get('returns')?.signature).toBe('run/timeout');
  });
});

describe.skipIf(!hasNumpy)('processes that break a law', () => {
  it.each([
    ['short-output', 'sizes'],
    ['short-cache', 'sizes'],
    ['no-lse', 'protocol'],
    ['nondeterministic', 'same-answer'],
    ['zero-output', 'attention'],
    ['wrong-codes', 'cache'],
    ['raises', 'returns'],
    ['aborts', 'returns'],
    ['exits', 'returns'],
    ['garbage', 'protocol'],
    ['huge-header', 'protocol'],
    ['huge-tensors', 'protocol'],
    ['other-id', 'protocol'],
    ['size-lie', 'protocol'],
    ['twice', 'protocol'],
    ['accepts-everything', 'declines'],
  ])('%s breaks "%s"', async (fault, law) => {
    const script = quoted(join(plugin, 'testdata/hostile.py'));
    expect(failedLaws(await lawsOf(`exec:${python} ${script} ${fault}`))).toContain(law);
  });

  it('a process that hangs breaks "returns" and is gone afterwards', async () => {
    const mark = `hangs-${process.pid}`;
    const script = quoted(join(plugin, 'testdata/hostile.py'));
    const laws = await lawsOf(`exec:${python} ${script} hangs ${mark}`, 2000);
    expect(laws.get('returns')?.signature).toBe('run/timeout');
    const left = spawnSync('ps', ['-eo', 'args'], { encoding: 'utf8' }).stdout;
    expect(left.split('\n').filter((line) => line.includes(mark))).toEqual([]);
  });
});

// The packages need a GPU; what stands in for them computes what they promise, with numpy, and
// refuses arguments that they do not take. So the layout, the pages and the declaration are judged.
describe.skipIf(!hasNumpy)('adapters of paged kernels', () => {
  const overStandIn = (adapter: string, fault = 'none') => {
    const [file, ...args] = adapter.split(' ');
    const path = quoted(join(plugin, 'testdata', 'stand_ins'));
    const set = `env PYTHONDONTWRITEBYTECODE=1 STAND_IN_FAULT=${fault} PYTHONPATH=${path}`;
    const script = quoted(join(plugin, 'adapters', file));
    return `exec:${set} ${python} ${script} ${args.join(' ')}`;
  };

  it.each([
    ['flashinfer_decode.py paged fp16 64', 'attention'],
    ['flashinfer_decode.py paged fp16 64,128 tensor-cores', 'attention'],
    ['flashinfer_decode.py single fp16 64', 'attention'],
    ['vllm_triton.py auto 3d fp16 64', 'attention'],
    ['vllm_triton.py int8 2d fp16 64', 'cache'],
    ['vllm_triton.py int8 3d fp16 64', 'cache'],
  ])('%s keeps every law, and "%s" is judged', async (adapter, law) => {
    const laws = await lawsOf(overStandIn(adapter));
    expect(failedLaws(laws)).toEqual([]);
    expect(laws.get(law)?.status).toBe('pass');
  });

  it.each([
    ['pages-in-order', 'flashinfer_decode.py paged fp16 64', 'attention'],
    ['whole-pages', 'flashinfer_decode.py paged fp16 64', 'attention'],
    ['natural-lse', 'flashinfer_decode.py paged fp16 64', 'attention'],
    ['natural-lse', 'flashinfer_decode.py single fp16 64', 'attention'],
    ['pages-in-order', 'vllm_triton.py auto 3d fp16 64', 'attention'],
    ['whole-pages', 'vllm_triton.py int8 2d fp16 64', 'attention'],
    ['codes-cut', 'vllm_triton.py int8 2d fp16 64', 'cache'],
    ['coarse-scales', 'vllm_triton.py int8 2d fp16 64', 'cache'],
  ])('a package with the fault %s: %s breaks "%s"', async (fault, adapter, law) => {
    expect(failedLaws(await lawsOf(overStandIn(adapter, fault)))).toContain(law);
  });
});
