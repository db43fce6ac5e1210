// `npm run bundle`: one archive for machines without Node, compiler or network: the runtime, the
// compiled TypeScript with the packages that it imports, the addon, the kernels (static CUDA runtime)
// and the corpus without the model's weights.
//
//   build-bundle/kvproof-VERSION-linux-x64.tar.xz   unpack anywhere, then ./kvproof verify --kernel cuda:0
//
// Linux x86-64, glibc 2.31 or newer, nothing else; a GPU needs its driver only. What would not run
// there (a symbol of a newer glibc), and an archive of 60 MB or more, is an error.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const out = join(root, 'build-bundle');
const { version, dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const name = `kvproof-${version}-linux-x64`;
const stage = join(out, name);
const glibcMax = '2.31';
const megabytesMax = 60;
/** Build tools: nothing that runs imports them. */
const leftOut = new Set(['cmake-js', 'node-addon-api']);

/** @returns {never} */
function fail(/** @type {string} */ sentence) {
  console.error(`kvproof bundle: ${sentence}`);
  process.exit(1);
}

function run(/** @type {string} */ program, /** @type {string[]} */ ...args) {
  const environment = {
    ...process.env,
    KVPROOF_CUDA_ARCHITECTURES: '80;89;90a', // the archive is for any of them
    CMAKE_BUILD_PARALLEL_LEVEL: String(Math.min(availableParallelism(), 16)),
  };
  const done = spawnSync(program, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    env: environment,
  });
  if (done.error !== undefined) fail(`${program} cannot be run (${done.error.message})`);
  if (done.status !== 0) {
    const text = `${done.stdout}${done.stderr}`.trim().split('\n').slice(-15).join('\n');
    fail(`${program} ${args.join(' ')} ended with ${done.status}:\n${text}`);
  }
  return done.stdout;
}

/** Packages that run, with everything that they need, from node_modules. @returns {string[]} */
function closure() {
  const found = new Set();
  const queue = Object.keys(dependencies).filter((name) => !leftOut.has(name));
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    if (found.has(name)) continue;
    found.add(name);
    const file = join(root, 'node_modules', name, 'package.json');
    queue.push(...Object.keys(JSON.parse(readFileSync(file, 'utf8')).dependencies ?? {}));
  }
  return [...found].sort();
}

/** What a package needs to run: no maps, types, browser builds. */
function runs(/** @type {string} */ path) {
  return (
    !/\.(map|d\.ts|d\.cts|d\.mts|md|markdown|tsbuildinfo)$/.test(path) &&
    !/\/(mathjs\/(lib\/browser|types)|node_modules\/[^/]+\/(docs?|tests?|examples?))(\/|$)/.test(
      path,
    )
  );
}

function stageApp() {
  const app = join(stage, 'app');
  mkdirSync(join(app, 'build', 'Release'), { recursive: true });
  copyFileSync(join(root, 'package.json'), join(app, 'package.json'));
  cpSync(join(root, 'dist'), join(app, 'dist'), { recursive: true, filter: runs });
  for (const name of closure()) {
    const from = join(root, 'node_modules', name);
    cpSync(from, join(app, 'node_modules', name), {
      recursive: true,
      dereference: true,
      filter: (path) => runs(path),
    });
  }
  cpSync(join(root, 'corpus'), join(app, 'corpus'), {
    recursive: true,
    filter: (path) => !/\/model-\d+\.safetensors$/.test(path),
  });
  const plugin = join('native', 'plugin'); // what `init` copies, and the adapters; none of the tests
  cpSync(join(root, plugin), join(app, plugin), {
    recursive: true,
    filter: (path) => !/\/(testdata|__pycache__)$/.test(path),
  });
  copyFileSync(join(root, 'LICENSE'), join(stage, 'LICENSE'));
  copyFileSync(join(root, 'README.md'), join(stage, 'README.md'));
}

function stageNative() {
  const built = join(out, 'Release');
  const to = join(stage, 'app', 'build', 'Release');
  const libraries = readdirSync(built).filter((file) => /\.(so|node)$/.test(file));
  for (const library of libraries) {
    copyFileSync(join(built, library), join(to, library));
    run('strip', '--strip-unneeded', join(to, library));
  }
  if (!libraries.includes('libkvproof_cuda.so')) {
    console.error('kvproof bundle: without nvcc there are no kernels for GPUs in the archive');
  }
  copyFileSync(process.execPath, join(stage, 'node'));
  run('strip', join(stage, 'node'));
  chmodSync(join(stage, 'node'), 0o755);
  return [join(stage, 'node'), ...libraries.map((library) => join(to, library))];
}

/** The newest glibc that a binary asks for must be old enough. */
function checkSymbols(/** @type {string} */ binary) {
  const versions = run('objdump', '-T', binary).matchAll(
    /\(?GLIBC_(\d+)\.(\d+)[^)\s]*\)?\s+(\S+)/g,
  );
  const limit = Number(glibcMax.split('.')[1]);
  for (const [, major, minor, symbol] of versions) {
    if (Number(major) > 2 || Number(minor) > limit) {
      fail(
        `${relative(stage, binary)}: ${symbol} needs glibc ${major}.${minor}, at most ${glibcMax}`,
      );
    }
  }
}

/** What can be opened is what a campaign without a named kernel begins with. */
function checkKernels() {
  const listed = run(join(stage, 'kvproof'), 'kernels');
  if (!listed.includes('sim:sm_90')) fail(`kvproof kernels lists no emulator:\n${listed}`);
}

/** Every adapter that `init` can write, written by the bundle itself. */
function checkInit() {
  const written = join(out, 'init');
  rmSync(written, { recursive: true, force: true });
  for (const kind of ['python', 'pytorch', 'triton', 'cpp', 'cuda']) {
    const folder = join(written, kind);
    const said = run(join(stage, 'kvproof'), 'init', folder, '--kind', kind, '--name', kind);
    // Where the archive is unpacked there is no node and no npx to type.
    if (!said.includes(`${name}/kvproof verify`)) fail(`init names no command to type:\n${said}`);
  }
  rmSync(written, { recursive: true });
}

const launcher = `#!/bin/sh
# The runtime that came along, whatever else is installed.
here=$(dirname "$(readlink -f "$0")")
exec "$here/node" "$here/app/dist/fuzz/cli.js" "$@"
`;

if (process.platform !== 'linux' || process.arch !== 'x64') {
  fail(`${process.platform}-${process.arch}, linux-x64 is required`);
}
rmSync(stage, { recursive: true, force: true });
mkdirSync(stage, { recursive: true });
const cmakeJs = createRequire(import.meta.url).resolve('cmake-js/package.json');
run(
  process.execPath,
  ...[join(dirname(cmakeJs), 'bin', 'cmake-js'), 'compile', '--directory', root],
  ...['--out', out, '--CDKVPROOF_PORTABLE=ON'],
);
run(process.execPath, join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json');
stageApp();
stageNative().forEach(checkSymbols);
writeFileSync(join(stage, 'kvproof'), launcher);
chmodSync(join(stage, 'kvproof'), 0o755);
checkKernels();
checkInit();
const archive = join(out, `${name}.tar.xz`);
rmSync(archive, { force: true });
run('tar', '-C', out, '-cJf', archive, name);
const megabytes = statSync(archive).size / 1e6;
if (!existsSync(archive) || megabytes >= megabytesMax) {
  fail(`${archive}: ${megabytes.toFixed(1)} MB, less than ${megabytesMax} are required`);
}
console.log(`${relative(root, archive)}: ${megabytes.toFixed(1)} MB`);
