// The contributor's one command (npm test, npm run check): format, lint, types, build, package, unit tests (tidy among them),
// native tests, smoke campaign. Two lanes run side by side, since most steps keep one core busy at a time: the build and the
// unit tests, whose output is shown as it comes; and everything else, a step's output when it ends. Every step runs even when
// an earlier one failed, except that what needs a build does not run after one that failed.
// Ends with one line, `N passed, N failed, N skipped`, that counts single tests where a step has them and the step itself
// where it has none. `--only NAME` runs one step.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';

const resultsFolder = 'build/test-results';
const vitestResults = `${resultsFolder}/vitest.json`;

/** @typedef {{ passed: number, failed: number, skipped: number }} Counts */
/** @typedef {{ status: number | null, output: string }} Ended */

/** One step that is its own single test. @returns {Counts} */
function single(/** @type {number | null} */ status) {
  return status === 0 ? { passed: 1, failed: 0, skipped: 0 } : { passed: 0, failed: 1, skipped: 0 };
}

/** Runs a command and keeps what it writes, to both outputs in the order of its coming. @returns {Promise<Ended>} */
function run(
  /** @type {readonly string[]} */ [command, ...args],
  onText = (/** @type {string} */ _) => {},
) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (/** @type {string} */ text) => {
        output += text;
        onText(text);
      });
    }
    child.on('error', ({ message }) => resolve({ status: null, output: `${output}${message}\n` }));
    child.on('close', (status) => resolve({ status, output }));
  });
}

/** A suite that fails to load counts as one failed test: no test of it may vanish silently. @returns {Counts} */
function unitTests(/** @type {Ended} */ { status }) {
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
function nativeTests(/** @type {Ended} */ { status, output }) {
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
function nativeFormat(/** @type {Ended} */ { status, output }) {
  if (status === 0 && output.includes('clang-format not found')) {
    return { passed: 0, failed: 0, skipped: 1 };
  }
  return single(status);
}

/**
 * @typedef {object} Step
 * @property {string} name
 * @property {string} command
 * @property {(ended: Ended) => Counts} [counts] of its single tests; absent: it is one
 * @property {boolean} [built] needs the build
 * @property {boolean} [live] its output is shown as it comes
 */
const vitest = `npx vitest run --reporter=default --reporter=json --outputFile.json=${vitestResults}`;
/** @type {readonly (readonly Step[])[]} */
const lanes = [
  [
    { name: 'build', command: 'npm run --silent build -- --strict', live: true },
    { name: 'unit', command: vitest, counts: unitTests, built: true, live: true },
  ],
  [
    { name: 'format', command: 'npx biome format .' },
    { name: 'native-format', command: 'node native/format.mjs', counts: nativeFormat },
    { name: 'lint', command: 'npx biome lint .' },
    { name: 'types', command: 'npx tsc --noEmit' },
    { name: 'package', command: 'npm run --silent check:package', built: true },
    { name: 'native', command: 'node native/test.mjs', counts: nativeTests, built: true },
    { name: 'smoke', command: 'npm run --silent smoke', built: true },
  ],
];

const only = process.argv[2] === '--only' ? process.argv[3] : undefined;
const chosen = lanes.map((lane) => lane.filter(({ name }) => only === undefined || name === only));
if (chosen.flat().length === 0) {
  const names = lanes.flat().map(({ name }) => name);
  console.error(`--only: found ${only}, required one of ${names.join(', ')}`);
  process.exit(2);
}
mkdirSync(resultsFolder, { recursive: true });
rmSync(vitestResults, { force: true });

/** @type {{ name: string, counts: Counts, seconds: number }[]} */
const done = [];
/** Settles whether there is a build: the one of this run, or with --only the one that is there. */
let settleBuild = (/** @type {boolean} */ _) => {};
const build = new Promise((resolve) => {
  settleBuild = resolve;
});
if (!chosen.flat().some(({ name }) => name === 'build')) settleBuild(true);

async function runStep(/** @type {Step} */ { name, command, counts: countsOf, live }) {
  const started = process.hrtime.bigint();
  if (live) console.log(`\n== ${name}`);
  const ended = await run(command.split(' '), (text) => live && process.stdout.write(text));
  if (!live) console.log(`\n== ${name}\n${ended.output.trimEnd()}`);
  const counts = countsOf === undefined ? single(ended.status) : countsOf(ended);
  const seconds = Number((process.hrtime.bigint() - started) / 1_000_000n) / 1000;
  done.push({ name, counts, seconds });
  if (name === 'build') settleBuild(counts.failed === 0);
}

await Promise.all(
  chosen.map(async (lane) => {
    for (const step of lane) {
      if (!step.built || (await build)) await runStep(step);
    }
  }),
);

const total = { passed: 0, failed: 0, skipped: 0 };
console.log('');
for (const { name, counts, seconds } of done) {
  const { passed, failed, skipped } = counts;
  console.log(
    `${name}: ${passed} passed, ${failed} failed, ${skipped} skipped (${seconds.toFixed(1)} s)`,
  );
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
}
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed > 0 || total.passed === 0 ? 1 : 0);
