// hunt.ts - one mutant, from its file to a kill and the small case that shows it.
//
// The plain emulated build runs fast and sees wrong numbers; the checked build takes twice as long
// and sees races, barriers and stray accesses too. So the budget is cut into slices that double,
// plain first, and either build goes on in its own list of cases (hunt-plan.ts). A failure
// counts as a kill only if the clean kernel passes the same case in the same property; what it
// fails there is a false positive and the hunt goes on.

import { caseArbitrary } from '../../properties/arbitrary/case.js';
import { type Case, canonicalJson } from '../../properties/case.js';
import type { OutputError } from '../../properties/output-error.js';
import { type FailureGroup, groupFailures, shrinkGroup } from '../campaign/failure-group.js';
import { Lane } from '../campaign/lane.js';
import { outcomeOf, RUN } from '../campaign/outcome.js';
import { CASE_SPACE, type PlannedCase } from '../campaign/plan.js';
import type { Workdir } from '../campaign/workdir.js';
import { buildInChild } from './build.js';
import type { CleanKernels } from './clean.js';
import type { HuntedCase, HuntPlan, HuntPlans } from './hunt-plan.js';
import type { MutantFile } from './mutant-set.js';
import type { Build, MutantResult, MutantStatus, ShrunkSize } from './result.js';

export type CheckedPolicy = 'auto' | 'always' | 'never';

export interface HuntOptions {
  readonly plans: HuntPlans;
  readonly checked: CheckedPolicy;
  /** For the cases of one mutant, on both builds together. */
  readonly budgetMs: number;
  readonly buildDeadlineMs: number;
  readonly caseDeadlineMs: number;
  readonly shrinkMs: number;
  /** Cases on which the rules of other projects are applied; 0: they are not. */
  readonly ruleCases: number;
  readonly workdir: Workdir;
  readonly interrupt: AbortSignal;
}

/** Slices of the budget, in turn plain and checked. */
const SLICES = [1 / 15, 2 / 15, 4 / 15, 8 / 15];
/** A mutant that is said to be equivalent gets a part of the budget, as a test of the claim. */
const EQUIVALENT_SHARE = 1 / 4;

/** null: interrupted. */
export async function huntMutant(
  file: MutantFile,
  slot: number,
  clean: CleanKernels,
  options: HuntOptions,
): Promise<MutantResult | null> {
  const hunt = new Hunt(file, slot, clean, options);
  try {
    return await hunt.run();
  } finally {
    await hunt.close();
  }
}

interface OpenBuild {
  readonly build: Build;
  readonly lane: Lane;
  readonly plan: HuntPlan;
  next: number;
}

interface Kill {
  readonly group: FailureGroup;
  readonly build: OpenBuild | null;
}

class Hunt {
  private readonly builds = new Map<Build, OpenBuild>();
  private buildMs = 0;
  private huntMs = 0;
  /** Of the slice that runs: what the clean kernel took, which no gate would run. */
  private cleanMs = 0;
  private cases = 0;
  private checkedCases = 0;
  private errors: OutputError[] = [];

  constructor(
    private readonly file: MutantFile,
    private readonly slot: number,
    private readonly clean: CleanKernels,
    private readonly options: HuntOptions,
  ) {}

  async close(): Promise<void> {
    await Promise.all([...this.builds.values()].map(({ lane }) => lane.close()));
  }

  async run(): Promise<MutantResult | null> {
    const { mutant } = this.file;
    const share = mutant.equivalent === undefined ? 1 : EQUIVALENT_SHARE;
    const all = this.options.budgetMs * share;
    for (const [build, ms] of slices(this.options.checked, all)) {
      const opened = await this.open(build);
      if (this.options.interrupt.aborted) return null;
      if (opened.kind === 'ended') return opened.result;
      const kill = await this.slice(opened.open, ms);
      if (this.options.interrupt.aborted) return null;
      if (kill !== null) return this.killed(kill);
    }
    await this.measure(null);
    const status = mutant.equivalent === undefined ? 'survived' : 'equivalent';
    return this.options.interrupt.aborted ? null : this.result(status, {});
  }

  private async open(
    build: Build,
  ): Promise<{ kind: 'open'; open: OpenBuild } | { kind: 'ended'; result: MutantResult }> {
    const known = this.builds.get(build);
    if (known !== undefined) return { kind: 'open', open: known };
    const { path } = this.file;
    const { workdir, interrupt, buildDeadlineMs, plans } = this.options;
    const ended = (status: MutantStatus, message: string) => {
      return { kind: 'ended' as const, result: this.result(status, { message }) };
    };
    const checked = build === 'checked';
    const startedAt = Date.now();
    const built = await buildInChild(path, { checked, deadlineMs: buildDeadlineMs, interrupt });
    this.buildMs += Date.now() - startedAt;
    if (built.kind === 'no-build') throw new Error(built.message);
    if (built.kind === 'timeout') return ended('timeout', built.message);
    if (built.kind !== 'built') return ended('build-failed', built.message);
    const slot = this.slot * 2 + (checked ? 1 : 0);
    const opened = await Lane.open({ uri: `mutant:${path}`, checked, workdir, slot });
    if (opened.kind === 'error') {
      // It builds and cannot be opened: nobody could use it without noticing.
      const group = openFailure(opened.message);
      return { kind: 'ended', result: this.result('killed', fieldsOf(group, null, build)) };
    }
    const { lane, hello } = opened;
    const open = { build, lane, plan: plans.of(hello.capabilities, build), next: 0 };
    this.builds.set(build, open);
    return { kind: 'open', open };
  }

  /** Runs cases for `ms` milliseconds; the kill, if there is one. */
  private async slice(open: OpenBuild, ms: number): Promise<Kill | null> {
    const startedAt = Date.now();
    try {
      while (Date.now() < startedAt + ms + this.cleanMs && !this.options.interrupt.aborted) {
        const planned = open.plan.at(open.next++);
        this.cases += 1;
        if (open.build === 'checked') this.checkedCases += 1;
        const group = await this.failureOn(open, planned);
        if (group !== null) return { group, build: open };
      }
      return null;
    } finally {
      this.huntMs += Date.now() - startedAt - this.cleanMs;
      this.cleanMs = 0;
    }
  }

  private async failureOn(open: OpenBuild, planned: HuntedCase): Promise<FailureGroup | null> {
    const { caseDeadlineMs, interrupt } = this.options;
    const { case: c, properties } = planned;
    const outcome = await outcomeOf(open.lane, c, properties, caseDeadlineMs);
    if (interrupt.aborted) return null;
    if (outcome.kind === 'lost') throw new Error(outcome.message);
    if (outcome.kind === 'broken') throw new Error(`${outcome.message}\n${outcome.stack}`);
    const groups = groupFailures([{ planned, verdicts: outcome.verdicts }]);
    for (const group of groups) {
      if (await this.isClean(open.build, c, group.property)) return group;
    }
    return null;
  }

  private async isClean(build: Build, c: Case, property: string): Promise<boolean> {
    const names = property === RUN ? null : [property];
    const startedAt = Date.now();
    try {
      return await this.clean.passes(this.file.mutant.architecture, build, c, names);
    } finally {
      this.cleanMs += Date.now() - startedAt;
    }
  }

  private async killed({ group, build }: Kill): Promise<MutantResult | null> {
    if (build === null) return this.result('killed', fieldsOf(group, null, null));
    const startedAt = Date.now();
    const { caseDeadlineMs, shrinkMs, interrupt } = this.options;
    const { result } = await shrinkGroup(group, [], {
      arbitrary: caseArbitrary(build.plan.capabilities, CASE_SPACE),
      lanes: [build.lane],
      properties: null,
      caseDeadlineMs,
      budgetMs: shrinkMs,
      interrupt,
      onTry: () => {},
    });
    const time = Date.now() - startedAt;
    await this.isClean(build.build, result.case, group.property);
    await this.measure(group.first.case);
    if (interrupt.aborted) return null;
    const fields = fieldsOf(group, result.case, build.build);
    return this.result('killed', { ...fields, shrinkMs: time });
  }

  /** What rules see: the first cases of the plan, and the one that killed. */
  private async measure(killing: Case | null): Promise<void> {
    const open = this.builds.get('plain') ?? this.builds.get('checked');
    if (open === undefined || this.options.ruleCases === 0) return;
    const cases = ruleCases(open.plan, this.options.ruleCases);
    if (killing !== null) cases.push(killing);
    for (const c of cases) {
      if (this.options.interrupt.aborted) return;
      const measured = await open.lane.measure(c, this.options.caseDeadlineMs);
      if (measured !== null) this.errors.push(measured);
    }
    if (killing !== null) await this.clean.measure(this.file.mutant.architecture, killing);
  }

  private result(status: MutantStatus, fields: Partial<MutantResult>): MutantResult {
    const { mutant, path, hash } = this.file;
    return {
      ...{ id: mutant.id, class: mutant.class, path, hash, architecture: mutant.architecture },
      ...{ status, claimedEquivalent: mutant.equivalent !== undefined },
      ...{ property: null, signature: null, message: null, build: null },
      ...{ cases: this.cases, checkedCases: this.checkedCases },
      ...{ ms: this.huntMs, buildMs: this.buildMs, shrunk: null, shrinkMs: 0 },
      ...{ killingCase: null, shrunkCase: null, errors: this.errors },
      ...fields,
    };
  }
}

function slices(policy: CheckedPolicy, ms: number): [Build, number][] {
  if (policy !== 'auto') return [[policy === 'always' ? 'checked' : 'plain', ms]];
  return SLICES.map((share, i) => [i % 2 === 0 ? 'plain' : 'checked', share * ms]);
}

/** The first cases of a plan: the same for every mutant of an architecture. */
export function ruleCases(plan: HuntPlan, count: number): Case[] {
  return Array.from({ length: count }, (_, i) => plan.at(i).case);
}

function openFailure(message: string): Pick<FailureGroup, 'property' | 'failure'> & {
  first: null;
} {
  const failure = { kind: 'fail' as const, signature: `${RUN}/not-opened`, message };
  return { property: RUN, failure, first: null };
}

function fieldsOf(
  group: Pick<FailureGroup, 'property' | 'failure'> & { first: Pick<PlannedCase, 'case'> | null },
  shrunk: Case | null,
  build: Build | null,
): Partial<MutantResult> {
  const { property, failure, first } = group;
  return {
    ...{ property, signature: failure.signature, message: failure.message, build },
    killingCase: first === null ? null : canonicalJson(first.case),
    shrunkCase: shrunk === null ? null : canonicalJson(shrunk),
    shrunk: shrunk === null ? null : sizeOf(shrunk),
  };
}

function sizeOf({ problem, scheme, options }: Case): ShrunkSize {
  return {
    requests: problem.tokens.length,
    kvHeads: problem.kvHeads,
    queryHeads: problem.queryHeads,
    tokens: problem.tokens.reduce((sum, n) => sum + n, 0),
    bits: scheme.bits,
    splits: options.splits,
  };
}
