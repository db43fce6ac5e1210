// Builds everything native into build/Release with cmake-js (npm runs it as the install script, and
// `npm run build` calls it). Nothing is downloaded.
//
// It fails an installation for a Node that cannot run the package, and for nothing else: where the tools are missing it prints the one line that installs
// them, where the build fails it prints the compiler's first error and keeps the whole log; either
// way `kvproof doctor` says later what is missing. A build whose sources have not changed is not
// repeated. `--strict` exits with 1 instead, for checks that must not go on without a build.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runTelling } from './build-progress.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const outFolder = join(root, 'build', 'Release');
const stampFile = join(outFolder, 'sources.stamp');
const errorFile = join(outFolder, 'build-error.txt');
const strict = process.argv.includes('--strict');
const cudaArchitectures = architectures();
/** As a line of a log, at most so far apart. */
const tellEveryMs = 10_000;

/** Build files that tell one source state from another. @returns {string[]} */
function sources(/** @type {string} */ folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return entry.name === 'mutants' ? [] : sources(path);
    return /\.(h|c|cpp|cu|cmake|map|txt)$/.test(entry.name) ? [path] : [];
  });
}

function runs(/** @type {string} */ program, /** @type {string[]} */ ...args) {
  const result = spawnSync(program, args, { encoding: 'utf8' });
  return result.error === undefined && result.status === 0 ? result.stdout : null;
}

/**
 * The GPUs that kernels are compiled for: KVPROOF_CUDA_ARCHITECTURES, a list of 80, 89 and 90a, or ptx;
 * else those of this machine, since each takes minutes; else all. Any other GPU compiles what it needs from
 * PTX at its first launch. @returns {string}
 */
function architectures() {
  const all = '80;89;90a';
  const asked = process.env.KVPROOF_CUDA_ARCHITECTURES;
  if (asked !== undefined && asked !== '') return asked;
  const found = runs('nvidia-smi', '--query-gpu=compute_cap', '--format=csv,noheader') ?? '';
  const own = found.split('\n').flatMap((line) => (line.trim() === '' ? [] : [line.trim()]));
  const names = new Map([
    ['8.0', '80'],
    ['8.9', '89'],
    ['9.0', '90a'],
  ]);
  const known = own.map((capability) => names.get(capability));
  if (known.length === 0 || known.includes(undefined)) return all;
  return [...new Set(known)].sort().join(';');
}

/**
 * Contents, not times: a fresh checkout of the same commit needs no new build. @returns {string}
 */
function stamp() {
  const hash = createHash('sha256');
  for (const path of [join(root, 'CMakeLists.txt'), ...sources(join(root, 'native')).sort()]) {
    const content = createHash('sha256').update(readFileSync(path)).digest('hex');
    hash.update(`${relative(root, path)} ${content}\n`);
  }
  const compiler = process.env.CXX ?? 'c++';
  const nvcc = runs('nvcc', '--version') ?? runs('/usr/local/cuda/bin/nvcc', '--version') ?? '';
  hash.update(
    `${cudaArchitectures} ${process.version} ${compiler} ${runs(compiler, '--version') ?? ''} ${nvcc}`,
  );
  return hash.digest('hex');
}

function missingTools() {
  const missing = [];
  const compilers = [process.env.CXX, 'c++', 'g++', 'clang++'].filter((c) => c !== undefined);
  if (!compilers.some((c) => runs(c, '--version') !== null)) missing.push('g++');
  if (runs('make', '--version') === null && runs('ninja', '--version') === null)
    missing.push('make');
  if (runs('cmake', '--version') === null) missing.push('cmake');
  return missing;
}

/** Says it on the terminal and leaves it for `kvproof doctor`. @returns {never} */
function giveUp(/** @type {string} */ sentence, /** @type {string} */ log) {
  mkdirSync(outFolder, { recursive: true });
  rmSync(stampFile, { force: true });
  writeFileSync(errorFile, `${sentence}\n${log}`);
  console.error(sentence);
  process.exit(strict ? 1 : 0);
}

/** The line that installs what is missing and builds: of a clone, or of a package in a project. */
function remedy() {
  const inProject = root.split(sep).includes('node_modules');
  const build = inProject ? `node ${fileURLToPath(import.meta.url)}` : 'npm run build';
  const sudo = process.getuid?.() === 0 ? '' : 'sudo ';
  return `${sudo}apt-get install -y g++ make cmake && ${build}`;
}

const { engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const least = engines.node.replace('>=', '');
if (process.version.slice(1).localeCompare(least, 'en', { numeric: true }) < 0) {
  console.error(
    `kvproof: Node ${process.version.slice(1)} was found, ${least} or newer is required`,
  );
  process.exit(1);
}
const missing = missingTools();
if (missing.length > 0) {
  giveUp(
    `kvproof: no kernels were built, ${missing.join(', ')} not found; install with: ${remedy()}`,
    '',
  );
}
const wanted = stamp();
if (
  existsSync(stampFile) &&
  readFileSync(stampFile, 'utf8') === wanted &&
  existsSync(join(outFolder, 'kvproof.node'))
) {
  process.exit(0);
}

// CMake goes on building the folder that it was configured for: a copied or moved checkout is configured anew.
const cache = join(root, 'build', 'CMakeCache.txt');
const home =
  existsSync(cache) && /^CMAKE_HOME_DIRECTORY:.*?=(.*)$/m.exec(readFileSync(cache, 'utf8'));
if (home && home[1] !== root) rmSync(cache);

const started = Date.now();
console.log('kvproof: building the kernels, their emulator and the addon ...');
const cmakeJs = createRequire(import.meta.url).resolve('cmake-js/package.json');
const { status, log } = await runTelling(
  process.execPath,
  [join(dirname(cmakeJs), 'bin', 'cmake-js'), 'compile', '--directory', root],
  {
    cwd: root,
    env: {
      ...process.env,
      KVPROOF_CUDA_ARCHITECTURES: cudaArchitectures,
      CMAKE_BUILD_PARALLEL_LEVEL: String(Math.min(os.availableParallelism(), 16)),
    },
  },
  tellEveryMs,
  (line) => console.log(`kvproof: ${line}`),
);
if (status !== 0) {
  const lines = log.split('\n');
  const first = lines.find((line) => /\berror\b|CMake Error|ERR!/i.test(line)) ?? 'no message';
  giveUp(
    `kvproof: the native build failed: ${first.trim()} (log: build/Release/build-error.txt)`,
    log,
  );
}
rmSync(errorFile, { force: true });
writeFileSync(stampFile, wanted);
const gpu = existsSync(join(outFolder, 'libkvproof_cuda.so'))
  ? ''
  : '; without nvcc, kernels for a GPU were left out';
console.log(`kvproof: built in ${Math.round((Date.now() - started) / 1000)} s${gpu}`);
