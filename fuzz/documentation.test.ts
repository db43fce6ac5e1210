// Every command of the documents and of the workflows is run: each line with kvproof in a block of
// shell or YAML, in the order of its page, in a folder that holds what the page assumes. Only what
// stands in `scaled` is changed, all of it by documented options: shorter times, fewer cases, one
// property, the emulator in place of a GPU. Commands in running text are workflows.test.ts' part.
import { spawn, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from './campaign/package-root.js';

const root = packageRoot();
const cli = join(root, 'dist', 'fuzz', 'cli.js');
const work = mkdtempSync(join(tmpdir(), 'kvproof-documents-'));
const bin = join(work, 'bin');
const hasNumpy = spawnSync('python3', ['-c', 'import numpy']).status === 0;
const hasRedis = spawnSync('redis-server', ['--version']).status === 0;
const redisPort = 20_000 + (process.pid % 20_000);

/** Where a page leaves a name to the reader, or asks for more than a test has. */
const scaled: readonly (readonly [RegExp, string])[] = [
  // A plug-in takes few of the stored cases, and a second may be over before it is asked for one.
  [/(?<=kernel "?(?:lib|exec):.*)--time \w+/, '--runs 2'],
  // Without a limit of time a verify looks at its whole corpus, which for a plug-in is short.
  [/kvproof verify (?!.*--(time|runs))(?=.*(lib|exec):)/, 'kvproof verify --runs 2 '],
  [/kvproof verify (?!.*(--time|lib:|exec:))/, 'kvproof verify --time 1s '],
  [/--time \w+/, '--time 2s'],
  [/--runs \d{2,}/, '--runs 4'],
  [/--shards \d+/, '--shards 2'],
  // One property of the thirty: what it is called with is tested here, not the kernel.
  [/kvproof (verify|fuzz) /, '$&--property exact-codes '],
  // And one process, since other tests run beside this one.
  [/kvproof (verify|fuzz) (?!.*--workers)/, '$&--workers 1 '],
  [/'?cuda:(\d|\*)'?/, 'sim:sm_90'],
  [/\$\{\{ matrix\.shard \}\}/g, '1'],
  [/\$\{\{ github\.sha \}\}/, '"$GITHUB_SHA"'],
  [/redis:\/\/queue:6379/, `redis://127.0.0.1:${redisPort}`],
  // Scaled down, the long study is the short one: it goes on from what that has stored.
  [/study perplexity (?=--windows)/, '$&--resume '],
  // Of one window two processes would both compute the prefix.
  [/study perplexity /, '$&--scored 48 --workers 1 '],
  [/study perplexity\b(?!.*--axes)/, 'study perplexity --axes channel --groups 128 --bits 4/4'],
  [/--bits 4\/4,2\/2/, '--bits 4/4'],
  [/--windows \d+|--quick/, '--windows 1'],
  [/--sections bits,rules,kept,formats/, '--sections bits --seeds 1'],
];

const environment: Record<string, string> = {
  ...Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) =>
      name.startsWith('VITEST') || value === undefined ? [] : [[name, value]],
    ),
  ),
  PATH: `${bin}:${process.env.PATH}`,
  // What a CI service or a scheduler sets.
  ...{ GITHUB_SHA: '0123abc', CI_COMMIT_SHA: '0123abc', SLURM_ARRAY_TASK_ID: '1' },
  // What gate.yml makes of its inputs.
  ...{ KERNEL: 'sim:sm_90', TIME: '1s', SEED: '0123abc', BASELINE: 'corpus/findings', CHECKED: '' },
};

interface Command {
  /** As it stands on the page. */
  readonly line: string;
  readonly shell: string;
}

/** Lines with kvproof or g++ from blocks of shell and YAML; a workflow is one block. */
function commandsOf(path: string): Command[] {
  const text = readFileSync(join(root, path), 'utf8');
  const blocks = path.endsWith('.md')
    ? [...text.matchAll(/^```(?:sh|bash|yaml)\n(.*?)^```$/gms)].map(([, block]) => block)
    : [text];
  return blocks.flatMap((block) => {
    const lines = block.replace(/\\\n\s*/g, ' ').split('\n');
    return lines.flatMap((line) => {
      const command = /^\s*(?:- (?:run: )?|run: )?((?:srun |npx |\.\/)?kvproof .*|g\+\+ .*)$/.exec(
        line,
      )?.[1];
      if (command === undefined) return [];
      const shell = command.replace(/^\.\//, '').replace(/\s+#.*$/, '');
      return [{ line: command, shell: scale(shell) }];
    });
  });
}

function scale(command: string): string {
  return scaled.reduce((text, [pattern, by]) => text.replace(pattern, by), command);
}

function pages(folder = ''): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (/^(node_modules|build.*|dist|\.git|\.kvproof)$/.test(entry.name)) return [];
    if (entry.isDirectory()) return pages(path);
    return /\.md$|^\.github\/workflows\/.*\.yml$/.test(path) ? [path] : [];
  });
}

/** What a page takes for granted, made by commands of the same kind. */
const assumed: Readonly<Record<string, readonly string[]>> = {
  'README.md': [scale('kvproof fuzz --time 8h --seed 1 --shard 2/2 --workdir shard-2')],
  'fuzz/campaign/README.md': [2, 3, 4].map((shard) =>
    scale(`kvproof fuzz --runs 20000 --seed "$GITHUB_SHA" ${placed(shard, 4, `shard-${shard}`)}`),
  ),
  '.github/workflows/nightly.yml': [1, 2, 3, 4].map((shard) =>
    shardCommand(shard, 4, `shards/campaign-${shard}`),
  ),
};

function placed(shard: number, count: number, folder: string): string {
  return `--shard ${shard}/${count} --workdir ${folder}`;
}

function shardCommand(shard: number, count: number, folder: string): string {
  const seed = '--kernel sim:sm_90 --runs 4 --seed "$GITHUB_SHA" --no-corpus';
  return scale(`kvproof fuzz ${seed} ${placed(shard, count, folder)}`);
}

function run(shell: string, cwd: string) {
  return spawnSync('bash', ['-c', shell], { cwd, encoding: 'utf8', env: environment });
}

/** A NumPy file of binary64 in C order. */
function npy(path: string, shape: readonly number[]): void {
  const count = shape.reduce((product, n) => product * n, 1);
  const header = `{'descr': '<f8', 'fortran_order': False, 'shape': (${shape.join(', ')}), }`;
  const padded = `${header.padEnd(118 - 1)}\n`;
  const values = Float64Array.from({ length: count }, (_, i) => ((i * 37) % 101) / 50 - 1);
  const length = Buffer.from([padded.length, 0]);
  const magic = Buffer.from('\x93NUMPY\x01\x00', 'latin1');
  writeFileSync(
    path,
    Buffer.concat([magic, length, Buffer.from(padded), Buffer.from(values.buffer)]),
  );
}

/** Kernels, a finding, tensors and a stored study, under the names that the pages use. */
function furnish(folder: string): void {
  mkdirSync(join(folder, 'corpus', 'findings'), { recursive: true });
  for (const name of ['build', 'shards', 'report']) mkdirSync(join(folder, name));
  const identity = '-c user.name=kvproof -c user.email=kvproof@localhost';
  run(`git init -q && git ${identity} commit -q --allow-empty -m first`, folder);
  const seeds = join(root, 'corpus', 'seeds');
  const [first] = readdirSync(seeds).filter((name) => name.endsWith('.json'));
  copyFileSync(join(seeds, first), join(folder, 'corpus', 'findings', 'FILE.json'));
  cpSync(join(root, 'corpus/studies'), join(folder, 'corpus/studies'), { recursive: true });
  copyFileSync(join(work, 'libmine.so'), join(folder, 'libmine.so'));
  copyFileSync(join(work, 'libmine.so'), join(folder, 'build', 'libmine.so'));
  const plugin = join(root, 'native', 'plugin');
  for (const name of ['mine.py', 'mykernel.py']) {
    copyFileSync(join(plugin, 'templates/kernel.py'), join(folder, name));
  }
  copyFileSync(join(plugin, 'python/kvproof.py'), join(folder, 'kvproof.py'));
  npy(join(folder, 'k.npy'), [1, 160, 64]);
  npy(join(folder, 'v.npy'), [1, 160, 64]);
  npy(join(folder, 'q.npy'), [2, 1, 64]);
}

const files = pages().filter((path) => commandsOf(path).length > 0);
let redis: ReturnType<typeof spawn> | null = null;

beforeAll(async () => {
  if (!existsSync(cli)) throw new Error(`${cli}: not found, run \`npm run build\``);
  mkdirSync(bin);
  const own = `exec '${process.execPath}' '${cli}' "$@"`;
  const programs = { kvproof: own, npx: `shift\n${own}`, srun: 'exec "$@"' };
  for (const [name, text] of Object.entries(programs)) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  }
  const include = `-I${join(root, 'native/plugin')}`;
  const source = join(root, 'native/plugin/templates/kernel.cpp');
  const flags = ['-O1', '-std=c++20', '-shared', '-fPIC', include, '-o', join(work, 'libmine.so')];
  const built = spawnSync('g++', [...flags, source], { encoding: 'utf8' });
  if (built.status !== 0) throw new Error(`${source}: not compiled: ${built.stderr}`);
  if (hasRedis) {
    const port = ['--port', String(redisPort), '--save', '', '--appendonly', 'no'];
    redis = spawn('redis-server', port, { stdio: 'ignore', cwd: work });
  }
}, 120_000);

afterAll(() => {
  redis?.kill();
  rmSync(work, { recursive: true, force: true });
});

describe('commands of the documents run', () => {
  it.each(files)(
    '%s',
    (path) => {
      const folder = mkdtempSync(join(work, 'page-'));
      furnish(folder);
      for (const line of assumed[path] ?? []) {
        const made = run(line, folder);
        expect(made.status, `${line}\n${made.stdout}${made.stderr}`).toBe(0);
      }
      for (const { line, shell } of commandsOf(path)) {
        if (/exec:python3/.test(shell) && !hasNumpy) continue;
        if (/--queue/.test(shell) && !hasRedis) continue;
        const done = run(shell, folder);
        expect(done.status, `${line}\n  as ${shell}\n${done.stdout}${done.stderr}`).toBe(0);
      }
    },
    600_000,
  );
});

describe('the commands that are run', () => {
  it('are those of the pages, scaled down', () => {
    expect(files).toContain('README.md');
    expect(files).toContain(join('.github', 'workflows', 'gate.yml'));
    const all = files.flatMap((path) => commandsOf(path)).map(({ shell }) => shell);
    expect(all.length).toBeGreaterThan(30);
    expect(all.filter((shell) => /cuda:|\dh\b|90m|FILE\.json --kernel cuda/.test(shell))).toEqual(
      [],
    );
    expect(relative(root, cli)).toBe(join('dist', 'fuzz', 'cli.js'));
  });

  it('turn red when one is wrong', () => {
    const folder = mkdtempSync(join(work, 'wrong-'));
    expect(run(scale('npx kvproof verify --kernle cuda:0'), folder).status).toBe(2);
  });
});
