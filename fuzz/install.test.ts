// The install script as npm runs it: what is missing or does not compile is one sentence, never the
// end of an installation, and a build that takes minutes says how far it is. The build itself is
// the one that every other test runs on.
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from './campaign/package-root.js';

const native = join(packageRoot(), 'native');
const cli = join(packageRoot(), 'dist', 'fuzz', 'cli.js');
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kvproof-install-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A package of nothing but its install script, with programs that do `programs`. */
function packageIn(place: string, programs: Readonly<Record<string, string>>) {
  const root = join(folder, place);
  const bin = join(root, 'bin');
  for (const path of [bin, join(root, 'native')]) mkdirSync(path, { recursive: true });
  for (const name of ['install.mjs', 'build-progress.mjs']) {
    cpSync(join(native, name), join(root, 'native', name));
  }
  cpSync(join(packageRoot(), 'package.json'), join(root, 'package.json'));
  writeFileSync(join(root, 'CMakeLists.txt'), '');
  symlinkSync(process.execPath, join(bin, 'node'));
  for (const [name, text] of Object.entries(programs)) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  }
  const run = (...args: string[]) =>
    spawnSync('node', [...args, join(root, 'native', 'install.mjs')], {
      encoding: 'utf8',
      env: { PATH: bin },
    });
  return { root, run };
}

/** Options of node under which it says that it is of this version. */
function asNode(version: string): string[] {
  const change = `Object.defineProperty(process, 'version', { value: 'v${version}' })`;
  return ['--import', `data:text/javascript,${encodeURIComponent(change)}`];
}

const sudo = process.getuid?.() === 0 ? '' : 'sudo ';

describe('tools that are missing', () => {
  it('are one sentence with the line that installs them, and the installation goes on', () => {
    const { root, run } = packageIn('clone', { make: '', 'c++': '' });
    const done = run();
    const sentence =
      'kvproof: no kernels were built, cmake not found; install with: ' +
      `${sudo}apt-get install -y g++ make cmake && npm run build\n`;
    expect([done.status, done.stdout, done.stderr]).toEqual([0, '', sentence]);
    expect(readFileSync(join(root, 'build/Release/build-error.txt'), 'utf8')).toBe(sentence);
  });

  it('of an installed package name its own script, since the project has no build of it', () => {
    const { root, run } = packageIn('project/node_modules/kvproof', {});
    const install = `install with: ${sudo}apt-get install -y g++ make cmake && node `;
    expect(run().stderr).toContain(`${install}${join(root, 'native', 'install.mjs')}\n`);
  });
});

describe('a Node that is too old', () => {
  const sentence = 'kvproof: Node 20.8.1 was found, 20.9.0 or newer is required\n';

  it('ends the installation with one sentence', () => {
    const done = packageIn('old', {}).run(...asNode('20.8.1'));
    expect([done.status, done.stdout, done.stderr]).toEqual([1, '', sentence]);
  });

  it('ends a command with the exit code of the environment', () => {
    const start = (version: string) =>
      spawnSync(process.execPath, [...asNode(version), cli, '--version'], { encoding: 'utf8' });
    const done = start('20.8.1');
    expect([done.status, done.stdout, done.stderr]).toEqual([3, '', sentence]);
    expect(start('20.10.0').status).toBe(0);
  });
});

describe('a build', () => {
  it('that fails is the first error and where the log is', () => {
    const { root, run } = packageIn('failing', { make: '', 'c++': '', cmake: '' });
    const tool = join(root, 'node_modules', 'cmake-js');
    mkdirSync(join(tool, 'bin'), { recursive: true });
    writeFileSync(join(tool, 'package.json'), '{}');
    const script =
      "console.log('[  3%] Building'); console.error('a.cpp:1: error: no'); process.exit(2);";
    writeFileSync(join(tool, 'bin', 'cmake-js'), script);
    const done = run();
    expect(done.status).toBe(0);
    expect(done.stderr).toBe(
      'kvproof: the native build failed: a.cpp:1: error: no (log: build/Release/build-error.txt)\n',
    );
    expect(readFileSync(join(root, 'build/Release/build-error.txt'), 'utf8')).toContain('[  3%]');
  });

  it.each([
    ['make', '[  7%] Building\\n[ 45%] Linking\\n', '45 % built'],
    ['ninja', '[3/48] Building\\n[12/48] Building\\n', '25 % built'],
    ['neither yet', '-- configuring\\n', '0 % built'],
  ])('says how far it is: %s', (_, output, expected) => {
    const slow = `process.stdout.write('${output}'); setTimeout(() => {}, 1500)`;
    const module = JSON.stringify(pathToFileURL(join(native, 'build-progress.mjs')));
    const program = `
      import { runTelling } from ${module};
      const args = ['-e', ${JSON.stringify(slow)}];
      const { status, log } = await runTelling(process.execPath, args, {}, 100, console.log);
      console.log(JSON.stringify({ status, log }));`;
    const done = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
    });
    const lines = done.stdout.trim().split('\n');
    expect(JSON.parse(lines.at(-1) ?? '')).toEqual({
      status: 0,
      log: output.replaceAll('\\n', '\n'),
    });
    expect(lines.slice(0, -1).join('\n')).toContain(`${expected}, `);
  });
});
