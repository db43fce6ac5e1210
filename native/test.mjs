// Native tests: builds the target kvproof_tests in the folder of the build, runs ctest, and closes
// with `N passed, N failed`. Each test is one program that ends with a count of its own checks; a
// program that is missing, crashes or runs past its deadline is one failure.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const build = join(root, 'build');
const jobs = String(Math.min(availableParallelism(), 16));
const deadlineSeconds = '300';

/** @returns {never} */
function fail(/** @type {string} */ sentence) {
  console.log(`${sentence}\n0 passed, 1 failed`);
  process.exit(1);
}

if (!existsSync(join(build, 'CMakeCache.txt'))) {
  fail('native tests: build/ has no build, required one made by `npm run build`');
}
const built = spawnSync(
  'cmake',
  ['--build', build, '--config', 'Release', '--target', 'kvproof_tests', '--parallel', jobs],
  { encoding: 'utf8', maxBuffer: 1 << 28 },
);
if (built.status !== 0) {
  process.stdout.write(`${built.stdout ?? ''}${built.stderr ?? ''}`);
  fail('native tests: the tests did not build');
}
const tests = spawnSync(
  'ctest',
  ['--output-on-failure', '--no-tests=error', '--timeout', deadlineSeconds, '-j', jobs],
  { cwd: build, encoding: 'utf8', maxBuffer: 1 << 28 },
);
process.stdout.write(`${tests.stdout ?? ''}${tests.stderr ?? ''}`);
const counted = /(\d+) tests? failed out of (\d+)/.exec(tests.stdout ?? '');
if (counted === null) fail('native tests: ctest gave no count');
const failed = Number(counted[1]);
console.log(`${Number(counted[2]) - failed} passed, ${failed} failed`);
process.exit(failed > 0 || tests.status !== 0 ? 1 : 0);
