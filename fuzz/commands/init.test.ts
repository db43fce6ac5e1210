// init as a user meets it: the files of every kind, commands that work as they are printed, and one
// sentence where nothing can be written. What the templates compute is judged in conform.test.ts.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../campaign/package-root.js';

const cli = join(packageRoot(), 'dist', 'fuzz', 'cli.js');
const folder = mkdtempSync(join(tmpdir(), 'kvproof-init-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const hasNumpy = spawnSync('python3', ['-c', 'import numpy']).status === 0;

/** Lines that come where a command takes seconds, as on a busy machine. */
const PROGRESS = /^cases: .*\n/gm;

function kvproof(...args: string[]) {
  if (!existsSync(cli)) throw new Error(`${cli}: not found, run \`npm run build\``);
  return spawnSync(process.execPath, [cli, ...args], { cwd: folder, encoding: 'utf8' });
}

/** The commands that init prints. */
const commandsOf = (stdout: string) => stdout.split('\n').filter((line) => line.startsWith('  '));

describe('init', () => {
  it.each([
    ['python', ['first-case.json', 'kernel.py', 'kvproof.py']],
    ['pytorch', ['first-case.json', 'kvproof.py', 'torch_kernel.cpp', 'torch_kernel.py']],
    ['triton', ['first-case.json', 'kvproof.py', 'triton_kernel.py']],
    ['cpp', ['first-case.json', 'kernel.cpp', 'kernel_abi.h', 'records.h']],
    [
      'cuda',
      [
        'cuda_memory.h',
        'first-case.json',
        'kernel.cu',
        'kernel_abi.h',
        'records.h',
        'stream_abi.h',
      ],
    ],
  ])('--kind %s writes what its template needs, under its name', (kind, files) => {
    const { status, stdout } = kvproof('init', kind, '--kind', kind, '--name', 'our kernel 2.0');
    expect(status).toBe(0);
    expect(readdirSync(join(folder, kind)).sort()).toEqual(files);
    const texts = files.map((file) => readFileSync(join(folder, kind, file), 'utf8'));
    expect(texts.some((text) => text.includes('our kernel 2.0'))).toBe(true);
    for (const text of texts) expect(text).not.toMatch(/KERNEL_NAME|KVPROOF_INCLUDE/);
    const named = texts.flatMap((text) => [...text.matchAll(/#include "(\w+\.h)"/g)]);
    for (const [, header] of named) expect(files).toContain(header);
    const verbs = [/ conform /, / replay .*first-case\.json /, / verify /];
    expect(commandsOf(stdout).slice(-3)).toEqual(verbs.map((verb) => expect.stringMatching(verb)));
  });

  it('--kind pytorch is compiled before the first deadline runs', () => {
    const { stdout } = kvproof('init', 'compiled', '--kind', 'pytorch');
    expect(commandsOf(stdout)[0]).toMatch(/python3 \S*torch_kernel\.py < \/dev\/null$/);
  });

  it.each(['cpp', ...(hasNumpy ? ['python'] : [])])(
    'the commands that --kind %s prints run as they are, up to the first verdict',
    (kind) => {
      const { stdout } = kvproof('init', `run-${kind}`, '--kind', kind);
      for (const command of commandsOf(stdout)) {
        if (command.includes(' verify ')) continue; // a minute long
        const ran = spawnSync('/bin/sh', ['-c', command], { cwd: folder, encoding: 'utf8' });
        const complaints = ran.stderr.replace(PROGRESS, '');
        expect([command, ran.status, complaints]).toEqual([command, 0, '']);
      }
    },
    120_000,
  );

  it('leaves alone what is there, and says so in one sentence', () => {
    writeFileSync(join(folder, 'kernel.py'), 'mine');
    const { status, stderr } = kvproof('init', '.', '--kind', 'python');
    expect(status).toBe(2);
    expect(stderr.trim().split('\n')).toEqual([expect.stringContaining('kernel.py: exists')]);
    expect(readFileSync(join(folder, 'kernel.py'), 'utf8')).toBe('mine');
    expect(existsSync(join(folder, 'kvproof.py'))).toBe(false);
  });

  it.each([
    [['--kind', 'fortran'], '"fortran" is not one of python, pytorch, triton, cpp, cuda'],
    [['--name', 'a"b'], '--name: letters, digits'],
  ])('refuses %j', (flags, why) => {
    const { status, stderr } = kvproof('init', 'nowhere', ...flags);
    expect(status).toBe(2);
    expect(stderr).toContain(why);
    expect(existsSync(join(folder, 'nowhere'))).toBe(false);
  });
});
