// Mutation testing of reference/: which tests judge which file, and one run of Stryker a file.
//
//   node .ci/mutation.mjs [--jobs N] [FILE.ts | FILE.ts:FROM-TO ...]      (default: every file)
//
// A mutant is run against the tests that are meant to judge its file, cheap ones first, and not
// against everything that happens to use it, which takes minutes a mutant. They are handed over in
// the environment: with --testFiles Stryker plants mutants of what is computed while a module loads
// only after it has loaded, and all of them survive. Reports: .kvproof/mutation/.
import { spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const attention = ['attention', 'attention-with'];
const blocks = ['block-math', 'attention'];
const bound = ['bound-terms', 'plain-bound', 'infinite-alternatives', 'bound'];
const scheduled = ['fused-codes', 'fused-sums', 'warp-sums'].map((name) => `scheduled/${name}`);
const range = ['scheduled/warp-sums', 'bound-l2'];
const laws = ['formats/statements', 'formats/format-laws'];
const perToken = ['formats/per-token-formats', 'formats/fp8.vectors', ...laws];
const bitdecoding = ['', '.vectors'].map((kind) => `formats/bitdecoding${kind}`).concat(laws);
const anyFormat = [
  ...['formats/per-token-formats', 'formats/llama', 'formats/kivi', 'formats/onnx-gqa'],
  ...['formats/bitdecoding', 'formats/record128', ...laws],
];

/** Files below reference/, without .ts, to tests, without .test.ts; else: the test of its name. */
const judges = {
  arithmetic: ['arithmetic', ...bound, 'bound-l2'],
  attention,
  'attention-options': attention,
  'attention-rows': attention,
  'attention-with': attention,
  'block-elements': blocks,
  'block-math': blocks,
  'block-rows': ['bound-scratch', 'attention', 'attention-with', ...bound],
  'block-simd': blocks,
  bound,
  'bound-l2': ['bound-l2', 'bound-l2.adversary'],
  'bound-scratch': ['bound-scratch', ...bound],
  cache: ['cache', 'attention', 'attention-with', 'dense-bound'],
  'ex2-approx': ['ex2-approx', 'bound-l2'],
  exp: ['exp', 'bignumber/twin'],
  format: ['format', 'number-type', 'quantize'],
  guards: ['guards', ...bound],
  'key-groups': ['key-groups', ...bound],
  mma: ['mma.vectors', 'mma'],
  'number-type': ['number-type', 'formats/fp8.vectors', 'bignumber/twin'],
  pack: ['pack', 'cache', 'formats/record128'],
  problem: ['problem', 'page-table', 'cache', 'attention'],
  quantize: ['quantize', 'cache', 'bignumber/twin'],
  'row-weights': ['row-weights', ...bound],
  scheme: ['formats/statements', 'problem', 'quantize', 'pack', 'cache'],
  'score-bound': ['score-bound', ...bound],
  'score-pass': bound,
  'shadow-rows': bound,
  'value-pass': bound,
  'wasm-code': ['wasm-code', 'scheduled/fused-codes', ...blocks],
  'formats/bitdecoding-arithmetic': ['formats/record128', ...bitdecoding],
  'formats/bitdecoding-k-channel': bitdecoding,
  'formats/bitdecoding-k-tensor': bitdecoding,
  'formats/case-scheme': ['formats/case-scheme'],
  'formats/define-format': anyFormat,
  'formats/format-spec': anyFormat,
  'formats/fp8-arithmetic': perToken,
  'formats/fp8-per-head': perToken,
  'formats/fp8-per-tensor': perToken,
  'formats/index': laws,
  'formats/kivi': ['formats/kivi', 'formats/kivi.vectors', ...laws],
  'formats/llama-q4-0': ['formats/llama', ...laws],
  'formats/llama-q8-0': ['formats/llama', ...laws],
  'formats/nvfp4': perToken,
  'formats/one-group': anyFormat,
  'formats/onnx-gqa': ['formats/onnx-gqa', ...laws],
  'formats/qserve-zint4': perToken,
  'formats/record128': ['formats/record128', ...laws],
  'formats/rounding': anyFormat,
  'formats/turbomind': perToken,
  'formats/vllm-int8': perToken,
  'scheduled/code-chain': [...scheduled, 'bound-l2'],
  'scheduled/code-sums': [...scheduled, 'bound-l2'],
  'scheduled/fused-codes': [...scheduled, 'bound-l2'],
  'scheduled/interval': [...range, 'bound-l2.adversary'],
  'scheduled/known-sums': range,
  'scheduled/merge': range,
  'scheduled/row-chain': [...scheduled, 'bound-l2'],
  'scheduled/scaled-query': range,
  'scheduled/schedule': [...scheduled, 'bound-l2'],
  'scheduled/scores': range,
  'scheduled/warp-sums': ['scheduled/warp-sums-ends', ...range],
};

/** Paths of the tests that judge a file of reference/: its own first, where it has one. */
export function judgesOf(file) {
  const name = file.replace(/^reference\//, '').replace(/\.ts(:.*)?$/, '');
  const path = (test) => `reference/${test}.test.ts`;
  const own = existsSync(path(name)) ? [name] : [];
  return [...new Set([...own, ...(judges[name] ?? [name])])].map(path);
}

const folder = '.kvproof/mutation';
const stryker = 'node_modules/@stryker-mutator/core/bin/stryker.js';

function everyFile() {
  const names = readdirSync('reference', { recursive: true }).map((n) => n.replaceAll('\\', '/'));
  const own = (n) =>
    n.endsWith('.ts') && !/\.test\.ts$|^(simulated|bignumber)\/|^index\.ts$/.test(n);
  return names.filter(own).map((name) => `reference/${name}`);
}

/** `reference/x.ts:1-9` as the name of a file. */
const slug = (what) =>
  what
    .replace(/^reference\//, '')
    .replace(/\.ts/, '')
    .replace(/[/:]/g, '-');

/** Runs Stryker on one file, or on some lines of it, in processes that `stop` ends. */
function mutate(what, running) {
  const report = `${folder}/${slug(what)}.json`;
  const config = `${folder}/${slug(what)}.conf.json`;
  const base = JSON.parse(readFileSync('stryker.config.json', 'utf8'));
  const own = {
    mutate: [what],
    tempDirName: `.kvproof/stryker/${slug(what)}`,
    jsonReporter: { fileName: report },
  };
  writeFileSync(config, JSON.stringify({ ...base, ...own }));
  return new Promise((resolve) => {
    const env = { ...process.env, MUTATION_TESTS: judgesOf(what).join(',') };
    const log = openSync(`${folder}/${slug(what)}.log`, 'w');
    const options = { env, detached: true, stdio: ['ignore', log, log] };
    const child = spawn(process.execPath, [stryker, 'run', config], options);
    running.add(child);
    child.on('close', (code) => {
      running.delete(child);
      closeSync(log);
      console.log(existsSync(report) ? describe(what, report) : `${what}: ended with ${code}`);
      resolve();
    });
  });
}

/** One line: how many mutants had which fate. */
function describe(what, report) {
  const files = Object.values(JSON.parse(readFileSync(report, 'utf8')).files);
  const count = {};
  for (const { status } of files.flatMap((file) => file.mutants)) {
    count[status] = (count[status] ?? 0) + 1;
  }
  return `${what}: ${Object.entries(count)
    .map(([status, n]) => `${n} ${status}`)
    .join(', ')}`;
}

async function main() {
  const { values, positionals } = parseArgs({
    options: { jobs: { type: 'string', default: '1' } },
    allowPositionals: true,
  });
  mkdirSync(folder, { recursive: true });
  const left = (positionals.length > 0 ? positionals : everyFile()).filter(
    (what) => positionals.length === 1 || !existsSync(`${folder}/${slug(what)}.json`),
  );
  const running = new Set();
  const stop = () => {
    for (const { pid } of running) process.kill(-pid, 'SIGKILL');
    process.exit(1);
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
  const lane = async () => {
    for (let what = left.shift(); what; what = left.shift()) await mutate(what, running);
  };
  await Promise.all(Array.from({ length: Number(values.jobs) }, lane));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
