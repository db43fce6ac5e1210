// The contributor's one command (npm test, npm run check): format, lint, types, build, package, unit tests (tidy among them),
// native tests, smoke campaign. Every step runs even when an earlier one failed, except that nothing runs after a failed build.
// Ends with one line, `N passed, N failed, N skipped`, that counts single tests where a step has them and the step itself
// where it has none. `--only NAME` runs one step.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';

const resultsFolder = 'build/test-results';
const vitestResults = `${resultsFolder}/vitest.json`;

/** @typedef {{ passed: number, failed: number, skipped: number }} Counts */

/** One step that is its own single test. @returns {Counts} */
function single(/** @type {number | null} */ status) {
  return status === 0 ? { passed: 1, failed: 0, skipped: 0 } : { passed: 0, failed: 1, skipped: 0 };
}

/** Runs a command with its output shown. @returns {number | null} */
function run(/** @type {string} */ command, /** @type {string[]} */ ...args) {
  return spawnSync(command, args, { stdio: ['ignore', 'inherit', 'inherit'] }).status;
}

/** Runs a command, shows its output, and keeps it. @returns {{ status: number | null, output: string }} */
function capture(/** @type {string} */ command, /** @type {string[]} */ ...args) {
  const child = spawnSync(command, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  process.stdout.write(child.stdout ?? '');
  return { status: child.status, output: child.stdout ?? '' };
}

/** A suite that fails to load counts as one failed test: no test of it may vanish silently. @returns {Counts} */
function unitTests() {
  mkdirSync(resultsFolder, { recursive: true });
  rmSync(vitestResults, { force: true });
  const status = run(
    'npx',
    'vitest',
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${vitestResults}`,
  );
  if (!existsSync(vitestResults)) return { passed: 0, failed: 1, skipped: 0 };
  const report = JSON.parse(readFileSync(vitestResults, 'utf8'));
  const broken = report.testResults.filter(
    (/** @type {any} */ suite) => suite.status === 'failed' && suite.assertionResults.length === 0,
  ).length;
  let failed = report.numFailedTests + broken;
  if (status !== 0 && failed === 0) failed = 1;
  return {
    passed: report.numPassedTests,
    failed,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

/** native/test.mjs closes with `N passed, N failed`. @returns {Counts} */
function nativeTests() {
  const { status, output } = capture('node', 'native/test.mjs');
  const last = [...output.matchAll(/^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/gm)].at(-1);
  if (last === undefined) return single(status === 0 ? 1 : status);
  const failed = Number(last[2]);
  return {
    passed: Number(last[1]),
    failed: status !== 0 && failed === 0 ? 1 : failed,
    skipped: Number(last[3] ?? 0),
  };
}

/** Native formatting is skipped where clang-format is not installed. @returns {Counts} */
function nativeFormat() {
  const { status, output } = capture('node', 'native/format.mjs');
  if (status === 0 && output.includes('clang-format not found')) {
    return { passed: 0, failed: 0, skipped: 1 };
  }
  return single(status);
}

/** @type {{ name: string, run: () => Counts, needed?: boolean }[]} */
const steps = [
  { name: 'format', run: () => single(run('npx', 'biome', 'format', '.')) },
  { name: 'native-format', run: nativeFormat },
  { name: 'lint', run: () => single(run('npx', 'biome', 'lint', '.')) },
  { name: 'types', run: () => single(run('npx', 'tsc', '--noEmit')) },
  {
    name: 'build',
    run: () => single(run('npm', 'run', '--silent', 'build', '--', '--strict')),
    needed: true,
  },
  { name: 'package', run: () => single(run('npm', 'run', '--silent', 'check:package')) },
  { name: 'unit', run: unitTests },
  { name: 'native', run: nativeTests },
  {
    name: 'smoke',
    run: () => single(run('npm', 'run', '--silent', 'smoke')),
  },
];

const only = process.argv[2] === '--only' ? process.argv[3] : undefined;
const chosen = only === undefined ? steps : steps.filter((step) => step.name === only);
if (chosen.length === 0) {
  console.error(`--only: found ${only}, required one of ${steps.map((s) => s.name).join(', ')}`);
  process.exit(2);
}
const total = { passed: 0, failed: 0, skipped: 0 };
const summary = [];
for (const step of chosen) {
  console.log(`\n== ${step.name}`);
  const started = process.hrtime.bigint();
  const counts = step.run();
  const seconds = Number((process.hrtime.bigint() - started) / 1_000_000n) / 1000;
  total.passed += counts.passed;
  total.failed += counts.failed;
  total.skipped += counts.skipped;
  summary.push(
    `${step.name}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped (${seconds.toFixed(1)} s)`,
  );
  if (step.needed && counts.failed > 0) break;
}
console.log(`\n${summary.join('\n')}`);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed > 0 || total.passed === 0 ? 1 : 0);
