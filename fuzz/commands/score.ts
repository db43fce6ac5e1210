// score - plants mutants and says which are killed. See fuzz/score/score.ts for what runs.
//
// Exit code 1: a mutant survived, could not be built, or is killed although it is said to be
// equivalent; or the clean kernel failed.

import { join } from 'node:path';
import { parseUri } from '../kernels/uri.js';
import { Progress } from '../report/progress.js';
import { countsOf, mutantLine, scoreJson, scoreMarkdown, scoreReport } from '../report/score.js';
import { print, tell, writeReport } from '../report/writer.js';
import { generateMutants } from '../score/generate.js';
import type { CheckedPolicy } from '../score/hunt.js';
import { type MutantFile, readMutantSet } from '../score/mutant-set.js';
import type { Score } from '../score/result.js';
import { rules } from '../score/rule.js';
import { type ScoreOptions, scoreMutants } from '../score/score.js';
import {
  parseCount,
  parseSeconds,
  reportPath,
  seedFrom,
  UsageError,
  workdirFrom,
  workersFrom,
} from './arguments.js';
import { interruptSignal } from './interrupt.js';

export interface ScoreFlags {
  kernel: string;
  mutants?: string[];
  generate?: string;
  generated?: string;
  oracle: string[];
  time: string;
  shrinkTime: string;
  buildTime: string;
  deadline: string;
  checked: string;
  seed?: string;
  workers?: string;
  workdir: string;
  json?: string;
  markdown?: string;
}

export async function score(flags: ScoreFlags): Promise<number> {
  const common = optionsFrom(flags);
  print(`seed ${common.seed}`);
  let mutants: readonly MutantFile[];
  try {
    mutants = await mutantsFrom(flags, common);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    tell(`kvproof score: ${error instanceof Error ? error.message : String(error)}`);
    return 3;
  }
  const options = { ...common, mutants };
  print(`${options.mutants.length} mutants, clean kernel ${flags.kernel}`);
  const progress = new Progress();
  const planned = options.mutants.length;
  let result: Score;
  try {
    result = await scoreMutants({
      ...options,
      events: {
        resumed: (done) => tell(`an earlier score was cut off: ${done} mutants are done already`),
        done(mutant, done) {
          progress.end();
          tell(`${done}/${planned} ${mutantLine(mutant)}`);
        },
        controlling(done, of) {
          progress.update({ phase: 'clean kernel', done, planned: of, failures: 0 });
        },
      },
    });
  } catch (error) {
    // The environment: no build, no compiler, or a worker that cannot start.
    tell(`kvproof score: ${error instanceof Error ? error.message : String(error)}`);
    return 3;
  }
  progress.end();
  print('', ...scoreReport(result));
  return writeReports(flags, result);
}

function optionsFrom(flags: ScoreFlags): Omit<ScoreOptions, 'events' | 'mutants'> {
  const parsed = parseUri(flags.kernel);
  if (parsed.kind !== 'sim') {
    const why = parsed.kind === 'error' ? parsed.message : `${flags.kernel} has no mutants`;
    throw new UsageError(
      `--kernel: ${why}; mutants are built as sim:sm_80, sim:sm_89 or sim:sm_90`,
    );
  }
  reportPath('--json', flags.json);
  reportPath('--markdown', flags.markdown);
  return {
    kernel: flags.kernel,
    seed: seedFrom(flags.seed),
    checked: policyFrom(flags.checked),
    budgetMs: 1000 * parseSeconds('--time', flags.time),
    buildDeadlineMs: 1000 * parseSeconds('--build-time', flags.buildTime),
    caseDeadlineMs: 1000 * parseSeconds('--deadline', flags.deadline),
    shrinkMs: 1000 * parseSeconds('--shrink-time', flags.shrinkTime),
    oracles: oraclesFrom(flags.oracle),
    workers: workersFrom(flags.workers),
    workdir: workdirFrom(flags.workdir),
    interrupt: interruptSignal(),
  };
}

/** From files, or made here. */
async function mutantsFrom(
  flags: ScoreFlags,
  options: Omit<ScoreOptions, 'events' | 'mutants'>,
): Promise<readonly MutantFile[]> {
  let patterns = flags.mutants ?? [];
  if (flags.generate !== undefined) {
    if (flags.mutants !== undefined) {
      throw new UsageError('--generate: makes mutants, and --mutants names others: one of them');
    }
    const { seed, workdir, buildDeadlineMs, workers, interrupt } = options;
    const generated = await generateMutants({
      ...{ seed, buildDeadlineMs, workers, interrupt },
      count: parseCount('--generate', flags.generate, 10_000),
      folder: flags.generated ?? join(workdir.path, `generated-${seed}`),
      onTried: ({ made, tried, what }) => tell(`${made} made of ${tried} tried, ${what}`),
    });
    const { paths, tried, notCompiling, sameCode } = generated;
    print(
      `${paths.length} mutants made of ${tried} candidates: ${notCompiling} do not compile, ` +
        `${sameCode} have the machine code of the clean kernels or of another one`,
    );
    patterns = [...paths];
    if (paths.length === 0) throw new Error('--generate: no mutant could be made');
  }
  const read = readMutantSet(patterns);
  if (read.kind === 'error') throw new UsageError(read.message);
  return read.mutants;
}

function policyFrom(text: string): CheckedPolicy {
  if (text === 'auto' || text === 'always' || text === 'never') return text;
  throw new UsageError(`--checked: "${text}" is not one of auto, always, never`);
}

function oraclesFrom(names: readonly string[]): string[] {
  const known = rules.map(({ name }) => name);
  if (names.includes('all')) return known;
  const unknown = names.find((name) => !known.includes(name));
  if (unknown === undefined) return known.filter((name) => names.includes(name));
  throw new UsageError(`--oracle: there is no "${unknown}", there are ${known.join(', ')}, all`);
}

function writeReports(flags: ScoreFlags, result: Score): number {
  const reports: [string, string | undefined, () => string][] = [
    ['--json', flags.json, () => scoreJson(result)],
    ['--markdown', flags.markdown, () => scoreMarkdown(result)],
  ];
  let code = exitCodeOf(result);
  for (const [option, path, text] of reports) {
    const trouble = path === undefined ? null : writeReport(option, path, text());
    if (trouble === null) continue;
    tell(`kvproof score: ${trouble}`);
    if (code === 0) code = 3;
  }
  return code;
}

/** 3: interrupted, or nothing was scored. */
function exitCodeOf(result: Score): number {
  const { survived, unbuilt } = countsOf(result);
  const wrongClaim = result.results.some((r) => r.status === 'killed' && r.claimedEquivalent);
  const falsePositive = result.control.falsePositives.length > 0;
  if (survived > 0 || unbuilt > 0 || wrongClaim || falsePositive) return 1;
  return result.results.length < result.planned || result.results.length === 0 ? 3 : 0;
}
