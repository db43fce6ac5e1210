// The package as a user has it: exactly the files that npm would pack, in an empty project outside
// of this tree, beside the packages that it declares and no others. The example of the README is
// compiled there under strict ESM, and run by the project's own vitest; the command runs by its
// link. What is not repeated here is the native build: the project gets this one's.
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { properties } from '../properties/index.js';
import { packageRoot } from './campaign/package-root.js';

const root = packageRoot();
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const readme = readFileSync(join(root, 'README.md'), 'utf8');
/** The first block of TypeScript. */
const example = /```ts\n(.*?)```/s.exec(readme)?.[1] ?? '';
/** What the user of the example installs beside kvproof. */
const ownPackages = ['vitest', 'typescript'];
const megabytesMax = 40;

interface Packed {
  readonly files: readonly { readonly path: string; readonly size: number }[];
}

let project: string;
let packed: Packed;

function run(program: string, args: readonly string[], cwd = project) {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('VITEST'));
  return spawnSync(program, args, { cwd, encoding: 'utf8', env: Object.fromEntries(own) });
}

function link(name: string): void {
  const path = join(project, 'node_modules', name);
  mkdirSync(dirname(path), { recursive: true });
  symlinkSync(join(root, 'node_modules', name), path);
}

beforeAll(() => {
  expect(existsSync(join(root, 'dist/fuzz/cli.js')), 'dist: npm run build comes first').toBe(true);
  project = mkdtempSync(join(tmpdir(), 'kvproof-package-'));
  // The build is this tree's: scripts would run it once more.
  const listed = run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], root);
  packed = JSON.parse(listed.stdout)[0];
  const installed = join(project, 'node_modules', 'kvproof');
  for (const { path } of packed.files) {
    mkdirSync(dirname(join(installed, path)), { recursive: true });
    cpSync(join(root, path), join(installed, path));
  }
  symlinkSync(join(root, 'build'), join(installed, 'build'));
  for (const name of [...Object.keys(manifest.dependencies), ...ownPackages]) link(name);
  const options = { strict: true, module: 'NodeNext', target: 'ES2022', noEmit: true, types: [] };
  const files = {
    'package.json': JSON.stringify({ name: 'empty', private: true, type: 'module' }),
    'tsconfig.json': JSON.stringify({ compilerOptions: options, include: ['*.ts'] }),
    'kernel.test.ts': example,
    'wrong.ts': "import { describeKernel } from 'kvproof/vitest';\ndescribeKernel(1);\n",
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(project, name), text);
}, 120_000);

afterAll(() => rmSync(project, { recursive: true, force: true }));

describe('the files of the package', () => {
  const paths = () => packed.files.map(({ path }) => path);

  it('are what runs, what is compiled and what is read, and no tests of it', () => {
    const needed = [
      'dist/fuzz/cli.js',
      'dist/fuzz/campaign/worker.js',
      'native/install.mjs',
      'native/plugin/kernel_abi.h',
      'native/plugin/templates/kernel.py',
      'native/kernels/decode.cu',
      'CMakeLists.txt',
      'corpus/code-lm/kv-k.safetensors',
      'corpus/seeds',
      'native/mutants',
      'LICENSE',
      'README.md',
    ];
    const missing = needed.filter((want) => !paths().some((path) => path.startsWith(want)));
    expect(missing).toEqual([]);
    expect(
      paths().filter((path) => /\.test\.|^dist.*\.map$|model-\d|^build|^\./.test(path)),
    ).toEqual([]);
  });

  it(`take less than ${megabytesMax} MB`, () => {
    const bytes = packed.files.reduce((sum, { size }) => sum + size, 0);
    expect(bytes).toBeLessThan(megabytesMax * 1e6);
    expect(bytes).toBeGreaterThan(0);
  });

  it('hold whatever package.json points at', () => {
    const targets = Object.values<unknown>(manifest.exports).flatMap((entry) =>
      typeof entry === 'string' ? [entry] : Object.values(entry as Record<string, string>),
    );
    for (const target of [...targets, ...Object.values<string>(manifest.bin)]) {
      expect(paths()).toContain(target.replace(/^\.\//, ''));
    }
  });
});

describe('an empty project with the package in it', () => {
  it('compiles the example of the README under strict ESM, and sees the types', () => {
    expect(example).toContain("from 'kvproof/vitest'");
    const compiled = run(join(root, 'node_modules/.bin/tsc'), ['-p', '.']);
    expect(compiled.stdout.trim().split('\n')).toEqual([
      expect.stringContaining('wrong.ts(2,16): error TS2345'),
    ]);
  });

  it('runs the example, one test for each property', () => {
    const json = join(project, 'result.json');
    const vitest = join(project, 'node_modules/vitest/vitest.mjs');
    const args = [vitest, 'run', '--reporter=json', `--outputFile=${json}`];
    const ran = run(process.execPath, args);
    expect(ran.status, `${ran.stdout}${ran.stderr}`).toBe(0);
    const report = JSON.parse(readFileSync(json, 'utf8'));
    expect(report.numTotalTests).toBe(properties.length + 2); // "run", and the user's own
    expect(report.numPassedTests).toBeGreaterThan(20);
  }, 300_000);

  it('has the command', () => {
    const cli = join(project, 'node_modules/kvproof', manifest.bin.kvproof);
    expect(run(process.execPath, [cli, '--version']).stdout).toBe(`${manifest.version}\n`);
    const replayed = run(process.execPath, [
      cli,
      ...['verify', '--kernel', 'sim:sm_90', '--property', 'exact-codes'],
      ...['--time', '5s', '--seed', '1'],
    ]);
    expect(replayed.stdout).toContain('nothing found');
    expect(replayed.status).toBe(0);
  });
});
