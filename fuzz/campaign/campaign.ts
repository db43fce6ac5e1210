// campaign.ts - one run from its options to its findings: plan, run, group, shrink, store.
//
// Everything that the user can get wrong comes back as an error with an exit code before a kernel
// is started; everything that goes wrong later is part of the result. Nothing here prints: progress
// goes out through `events`, and fuzz/report makes the text.

import { join, relative } from 'node:path';
import { caseArbitrary, caseHash } from '../../properties/index.js';
import { TWIN } from '../../properties/twin.js';
import { readCases, type StoredCase } from './case-file.js';
import { Climber } from './climber.js';
import {
  groupFailures,
  type ShrinkContext,
  type ShrunkGroup,
  shrinkGroup,
} from './failure-group.js';
import { readBaseline } from './finding-store.js';
import { Lane, type OpenLaneResult } from './lane.js';
import { headCommit, packageRoot } from './package-root.js';
import { CASE_SPACE, casesFor, inTurn, type Plan, planCases } from './plan.js';
import { type CaseRecord, CLIMBED, type PoolOptions, type PoolResult, runCases } from './pool.js';
import { type ReportedFinding, storeShrunk } from './reported-finding.js';
import type { Seed } from './seed.js';
import type { Workdir } from './workdir.js';
import type { Hello } from './worker-process.js';

/** Of all findings of a run together; a run with many findings must end too. */
const SHRINK_TOTAL = 4;

export interface CampaignOptions {
  /** null: cuda:0 where a GPU answers, else sim:sm_90. */
  readonly kernel: string | null;
  readonly checked: boolean;
  /** URI of a second kernel that has to give the same bits. */
  readonly twin?: string | undefined;
  readonly seed: Seed;
  readonly budget: {
    /** Cases to generate; null: as many as `seconds` stand for. */
    readonly generated: number | null;
    /** A hard stop; null: the plan is run to its end. */
    readonly seconds: number | null;
    /** Cases that climb from what the plan has shown (climber.ts); 0 unless given. */
    readonly climbed?: number;
  };
  /** Stored cases and the real cache come before the generated ones. */
  readonly corpus: boolean;
  readonly workers: number;
  readonly workdir: Workdir;
  readonly findings: string;
  readonly baseline: string | null;
  /** Names; null: all. */
  readonly properties: readonly string[] | null;
  readonly caseDeadlineMs: number;
  readonly shrinkMs: number;
  readonly replayCommand: (path: string, kernel: string) => string;
  readonly interrupt: AbortSignal;
  readonly events: CampaignEvents;
  readonly workerPath?: string;
}

export interface CampaignEvents {
  opened(kernel: string, hello: Hello, plan: Plan): void;
  ran(record: CaseRecord): void;
  shrinking(signature: string, tries: number): void;
}

export interface Campaign {
  readonly kind: 'campaign';
  readonly kernel: string;
  readonly hello: Hello;
  readonly seed: Seed;
  readonly commit: string;
  readonly planned: number;
  readonly pool: PoolResult;
  readonly findings: readonly ReportedFinding[];
  readonly elapsedMs: number;
}

export type CampaignResult = Campaign | { kind: 'error'; exitCode: 2 | 3; message: string };

export async function runCampaign(options: CampaignOptions): Promise<CampaignResult> {
  const startedAt = Date.now();
  const baseline = options.baseline === null ? null : readBaseline(options.baseline);
  if (baseline?.kind === 'error') return { ...baseline, exitCode: 2 };
  const stored = readStored(options);
  if (stored.kind === 'error') return { ...stored, exitCode: 2 };

  const opened = await openLane(options);
  if (opened.kind === 'error') return opened;
  const { kernel, lane, hello } = opened;
  const lanes = [lane];
  for (let slot = 1; slot < options.workers; slot++) lanes.push(lane.sibling(slot));
  try {
    const arbitrary = caseArbitrary(hello.capabilities, CASE_SPACE);
    const { budget, workers } = options;
    const generated =
      budget.generated ?? casesFor(budget.seconds ?? 0, workers, hello.capabilities);
    const plan = inTurn(
      planCases({
        stored: stored.stored,
        realCache: options.corpus,
        capabilities: hello.capabilities,
        arbitrary,
        seed: options.seed,
        generated,
      }),
    );
    options.events.opened(kernel, hello, plan);
    const run: PoolOptions = {
      lanes,
      properties: options.properties,
      always: options.twin === undefined ? [] : [TWIN],
      caseDeadlineMs: options.caseDeadlineMs,
      // From here on: that a mutant is compiled before the first case takes nothing from the
      // budget.
      stopAt: budget.seconds === null ? null : Date.now() + budget.seconds * 1000,
      interrupt: options.interrupt,
      onRecord: options.events.ran,
    };
    const planned = await runCases(plan, run);
    const climber = new Climber(hello.capabilities, options.seed);
    const pool = await climb(planned, plan.length, budget.climbed ?? 0, climber, run);
    const commit = headCommit(process.cwd());
    const findings: ReportedFinding[] = [];
    // Each is stored when it is shrunk: a run that is killed meanwhile keeps those before.
    await shrinkAll(pool.records, arbitrary, lanes, options, (one) => {
      const reported = storeShrunk(one, { ...options, kernel, device: hello.device, commit });
      const { property, signature } = reported.finding;
      findings.push({ ...reported, isNew: !(baseline?.has(property, signature) ?? false) });
    });
    return {
      kind: 'campaign',
      kernel,
      hello,
      seed: options.seed,
      commit,
      planned: plan.length + (budget.climbed ?? 0),
      pool,
      findings,
      elapsedMs: Date.now() - startedAt,
    };
  } finally {
    await Promise.all(lanes.map((each) => each.close()));
  }
}

/** Cases of one round of a climb: the same whatever the number of lanes. */
const ROUND = 16;

/** Runs `count` further cases, each round of them proposed from all that ran before. */
async function climb(
  start: PoolResult,
  firstIndex: number,
  count: number,
  climber: Climber,
  options: PoolOptions,
): Promise<PoolResult> {
  for (const record of start.records) climber.note(record);
  let all = start;
  for (let done = 0; done < count && all.stopped === 'finished'; done += ROUND) {
    const cases = Array.from({ length: Math.min(ROUND, count - done) }, (_, i) => {
      const c = climber.propose(done + i);
      return { index: firstIndex + done + i, origin: CLIMBED, case: c, hash: caseHash(c) };
    });
    const round = await runCases({ length: cases.length, at: (i) => cases[i] }, options);
    for (const record of round.records) climber.note(record);
    all = {
      ...round,
      records: [...all.records, ...round.records],
      broken: [...all.broken, ...round.broken],
    };
  }
  return all;
}

/** Hand-written seeds of the package, then what was found before. */
function readStored(
  options: CampaignOptions,
): { kind: 'stored'; stored: StoredCase[] } | { kind: 'error'; message: string } {
  if (!options.corpus) return { kind: 'stored', stored: [] };
  const seeds = readCases(relative(process.cwd(), join(packageRoot(), 'corpus', 'seeds')), true);
  if (seeds.kind === 'error') return seeds;
  const found = readCases(options.findings, true);
  if (found.kind === 'error') return found;
  return { kind: 'stored', stored: [...seeds.stored, ...found.stored] };
}

type OpenResult = Extract<OpenLaneResult, { kind: 'error' }> | OpenedKernel;

interface OpenedKernel {
  kind: 'open';
  kernel: string;
  lane: Lane;
  hello: Hello;
}

/** Without --kernel the GPU is tried first; that there is none is no error then. */
export async function openLane(
  options: Pick<CampaignOptions, 'kernel' | 'checked' | 'twin' | 'workdir' | 'workerPath'>,
): Promise<OpenResult> {
  const uris = options.kernel === null ? ['cuda:0', 'sim:sm_90'] : [options.kernel];
  const { checked, twin, workdir, workerPath } = options;
  const path = workerPath === undefined ? {} : { workerPath };
  const open = (uri: string) => Lane.open({ uri, checked, twin, workdir, slot: 0, ...path });
  for (const uri of uris.slice(0, -1)) {
    const opened = await open(uri);
    if (opened.kind === 'open') return { ...opened, kernel: uri };
  }
  const last = uris[uris.length - 1];
  const opened = await open(last);
  return opened.kind === 'open' ? { ...opened, kernel: last } : opened;
}

async function shrinkAll(
  records: readonly CaseRecord[],
  arbitrary: ShrinkContext['arbitrary'],
  lanes: readonly Lane[],
  options: CampaignOptions,
  onShrunk: (one: ShrunkGroup) => void,
): Promise<void> {
  const shrunk: ShrunkGroup[] = [];
  const stopAt = Date.now() + SHRINK_TOTAL * options.shrinkMs;
  for (const group of groupFailures(records)) {
    const hints = shrunk.map(({ result }) => result.case);
    const { signature } = group.failure;
    options.events.shrinking(signature, 0);
    const one = await shrinkGroup(group, hints, {
      arbitrary,
      lanes,
      properties: options.properties,
      caseDeadlineMs: options.caseDeadlineMs,
      budgetMs: Math.min(options.shrinkMs, stopAt - Date.now()),
      interrupt: options.interrupt,
      onTry: (tries) => options.events.shrinking(signature, tries),
    });
    shrunk.push(one);
    onShrunk(one);
  }
}
