// score.ts - plants every mutant, finds out which are killed, and what the clean kernels do on the
// same cases.
//
// Each worker takes the next mutant until none is left; a mutant's cases, builds and shrinking stay
// in one place (hunt.ts), so that the times are those of one core. Then the clean kernels run the
// list of cases as far as any mutant needed it. What was done is on disk at once (score-folder.ts).

import { caseHash } from '../../properties/case.js';
import { headCommit } from '../campaign/package-root.js';
import type { Seed } from '../campaign/seed.js';
import type { Workdir } from '../campaign/workdir.js';
import { CleanKernels } from './clean.js';
import { type CheckedPolicy, type HuntOptions, huntMutant, ruleCases } from './hunt.js';
import { HuntPlans } from './hunt-plan.js';
import type { MutantFile } from './mutant-set.js';
import type { Build, MutantResult, Score } from './result.js';
import { scoreRules } from './rule.js';
import { ScoreFolder } from './score-folder.js';

export interface ScoreOptions {
  readonly mutants: readonly MutantFile[];
  /** The clean kernel that the report names: sim:ARCHITECTURE. */
  readonly kernel: string;
  readonly seed: Seed;
  readonly checked: CheckedPolicy;
  readonly budgetMs: number;
  readonly buildDeadlineMs: number;
  readonly caseDeadlineMs: number;
  readonly shrinkMs: number;
  /** Names of rules of other projects. */
  readonly oracles: readonly string[];
  readonly workers: number;
  readonly workdir: Workdir;
  readonly interrupt: AbortSignal;
  readonly events: ScoreEvents;
}

export interface ScoreEvents {
  /** Results that an earlier run, cut off, had already. */
  resumed(count: number): void;
  done(result: MutantResult, count: number): void;
  controlling(done: number, planned: number): void;
}

/** Cases on which rules are applied, besides the one that killed. */
const RULE_CASES = 24;

export async function scoreMutants(options: ScoreOptions): Promise<Score> {
  const startedAt = Date.now();
  const { mutants, seed, kernel, workdir, oracles, caseDeadlineMs, interrupt } = options;
  const folder = ScoreFolder.open(workdir.path, askedFor(options));
  const clean = new CleanKernels({
    workdir,
    caseDeadlineMs,
    width: Math.ceil(options.workers / 3),
  });
  const ruleCount = oracles.length === 0 ? 0 : RULE_CASES;
  const hunt: HuntOptions = { ...options, plans: new HuntPlans(seed), ruleCases: ruleCount };
  try {
    const { device } = await clean.hello(kernel.slice('sim:'.length));
    const results = await huntAll(folder, clean, hunt, options);
    if (!interrupt.aborted) {
      await control(results, clean, hunt, options);
      folder.end();
    }
    const controlled = await clean.control();
    return {
      ...{ kernel, device, seed, commit: headCommit(process.cwd()) },
      elapsedMs: Date.now() - startedAt,
      planned: mutants.length,
      results,
      control: controlled,
      byOracle: scoreRules(oracles, results, controlled),
    };
  } finally {
    await clean.close();
  }
}

function askedFor(options: ScoreOptions): unknown {
  const { mutants, events: _e, interrupt: _i, workdir: _w, workers: _n, ...rest } = options;
  return { ...rest, mutants: mutants.map(({ path, hash }) => [path, hash]) };
}

async function huntAll(
  folder: ScoreFolder,
  clean: CleanKernels,
  hunt: HuntOptions,
  { mutants, workers, interrupt, events }: ScoreOptions,
): Promise<MutantResult[]> {
  const results: (MutantResult | null)[] = mutants.map((file) => folder.resultOf(file));
  let count = results.filter((result) => result !== null).length;
  if (count > 0) events.resumed(count);
  const open = mutants.map((_, i) => i).filter((i) => results[i] === null);
  const work = async (slot: number) => {
    for (let i = open.shift(); i !== undefined && !interrupt.aborted; i = open.shift()) {
      const result = await huntMutant(mutants[i], slot, clean, hunt);
      if (result === null) return;
      results[i] = result;
      folder.keep(mutants[i], result);
      count += 1;
      events.done(result, count);
    }
  };
  await Promise.all(Array.from({ length: workers }, (_, slot) => work(slot)));
  return results.filter((result) => result !== null);
}

/**
 * The clean kernels on the plan's cases, as far as any mutant went and within twice the time of
 * one; and on everything that killed, also what an earlier run found.
 */
async function control(
  results: readonly MutantResult[],
  clean: CleanKernels,
  hunt: HuntOptions,
  options: ScoreOptions,
): Promise<void> {
  const stopAt = Date.now() + 2 * options.budgetMs;
  const architectures = [...new Set(results.map(({ architecture }) => architecture))];
  for (const architecture of architectures) {
    const own = results.filter((result) => result.architecture === architecture);
    const { capabilities } = await clean.hello(architecture);
    const most: Record<Build, number> = {
      plain: Math.max(...own.map(({ cases, checkedCases }) => cases - checkedCases)),
      checked: Math.max(...own.map(({ checkedCases }) => checkedCases)),
    };
    for (const build of ['plain', 'checked'] as const) {
      let next = 0;
      const plan = hunt.plans.of(capabilities, build);
      const work = async () => {
        while (next < most[build] && Date.now() < stopAt && !options.interrupt.aborted) {
          const { case: c, properties } = plan.at(next++);
          await clean.passes(architecture, build, c, properties);
          options.events.controlling(next, most[build]);
        }
      };
      await Promise.all(Array.from({ length: options.workers }, work));
      if (options.interrupt.aborted) return;
    }
    if (hunt.ruleCases === 0) continue;
    const seen = ruleCases(hunt.plans.of(capabilities, 'plain'), hunt.ruleCases);
    for (const c of seen) await clean.measure(architecture, c);
    const known = new Set(seen.map(caseHash));
    for (const { killingCase } of own) {
      if (killingCase === null || options.interrupt.aborted) continue;
      const c = JSON.parse(killingCase);
      if (!known.has(caseHash(c))) await clean.measure(architecture, c);
    }
  }
}
