// fuzz-campaign.ts - a campaign from its options to its end: opens kernels, finds out what earlier
// sessions have done, runs the lanes, and brings the files of findings up to date.
//
// Everything that the user can get wrong comes back as an error with an exit code before a case is
// run. A campaign may be killed at any moment: what is done is what its journals say, and going on
// (`resume`) reads nothing else.

import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { caseArbitrary, properties as catalogue } from '../../properties/index.js';
import { TWIN } from '../../properties/twin.js';
import { updateCampaignFinding } from './campaign-finding.js';
import {
  findingsFolder,
  holdsCampaign,
  journalFolder,
  lockCampaign,
  readCorpus,
  readManifest,
  writeCorpus,
  writeManifest,
} from './campaign-folder.js';
import { CampaignStatistics } from './campaign-statistics.js';
import { readCases, type StoredCase } from './case-file.js';
import { CaseSource } from './case-source.js';
import { FindingTracker } from './finding-tracker.js';
import { type FuzzKernel, FuzzLane, type FuzzShared, LEDGER_PROPERTY, Turn } from './fuzz-lane.js';
import type { FuzzEnd, FuzzOptions } from './fuzz-options.js';
import { JOURNAL_SCHEMA, SegmentWriter } from './journal.js';
import { readSegment, segmentPaths } from './journal-reader.js';
import { type KernelGroup, openGroups } from './kernel-group.js';
import { CAMPAIGN_SCHEMA, campaignId, fingerprintOf, type Manifest } from './manifest.js';
import { NATIVE_REFERENCE } from './native-agreement.js';
import { RUN } from './outcome.js';
import { headCommit, packageRoot } from './package-root.js';
import { PAIRS_MAX, type Plan, planCases, spaceOfPairs, sweepArbitrary } from './plan.js';
import type { Seed } from './seed.js';
import { reasonOf, Workdir } from './workdir.js';

type Refusal = { kind: 'error'; exitCode: 2 | 3 | 4; message: string };

export async function runFuzz(options: FuzzOptions): Promise<FuzzEnd> {
  const { folder } = options;
  if (!options.resume && holdsCampaign(folder)) {
    return refuse(2, `${folder}: holds a campaign already, --resume goes on with it`);
  }
  const workdir = Workdir.open(folder);
  if (workdir.kind === 'error') return refuse(2, workdir.message);
  const lock = lockCampaign(folder);
  if (lock.kind === 'error') return refuse(2, lock.message);
  try {
    const opened = await openGroups(options.kernels, options.workers, {
      ...options,
      sweep: options.fullOneIn > 1,
      workdir: workdir.workdir,
    });
    if (opened.kind === 'error') return opened;
    try {
      return await withKernels(opened.groups, options);
    } finally {
      await Promise.all(
        opened.groups.flatMap(({ lanes }) => lanes.map(({ lane }) => lane.close())),
      );
    }
  } catch (error) {
    // A full disk, a folder that went away: nothing that was written before is lost.
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return refuse(3, `${folder}: cannot be written (${reasonOf(error)})`);
  } finally {
    lock.release();
  }
}

function refuse(exitCode: 2 | 3 | 4, message: string): Refusal {
  return { kind: 'error', exitCode, message };
}

async function withKernels(groups: readonly KernelGroup[], options: FuzzOptions): Promise<FuzzEnd> {
  const begun = begin(groups, options);
  if (begun.kind === 'error') return begun;
  const { manifest, plans } = begun;
  const startedAt = Date.now();
  const statistics = new CampaignStatistics();
  const { folder, budget, interrupt } = options;
  const kernels = groups.map((group, i): FuzzKernel => {
    const source = new CaseSource(
      options.shard,
      plans[i].length,
      statistics.kernelOf({ kernel: group.name }).done,
    );
    const arbitrary = caseArbitrary(group.hello.capabilities, spaceOfPairs(options.pairsMax));
    const tracker = new FindingTracker();
    return { name: group.name, plan: plans[i], source, tracker, arbitrary };
  });
  const problems = restore(kernels, statistics, options);
  for (const problem of problems) options.events.noticed(problem);
  const before = casesOf(statistics);
  const shared: FuzzShared = {
    options,
    statistics,
    findings: {
      folder: findingsFolder(folder),
      commit: headCommit(process.cwd()),
      seed: manifest.seed,
      replayCommand: options.replayCommand,
    },
    stopAt: budget.seconds === null ? null : startedAt + 1000 * budget.seconds,
    turn: new Turn(),
    loss: null,
    late: false,
  };
  const planned = budget.generated === null ? null : shardLength(plans, options);
  options.events.started({ manifest, statistics, planned, before });
  const cut = () => {
    for (const { lanes } of groups) for (const { lane } of lanes) void lane.close();
    shared.turn.wake();
  };
  interrupt.addEventListener('abort', cut);
  await runLanes(groups, kernels, manifest, shared);
  interrupt.removeEventListener('abort', cut);
  updateFiles(statistics, options);
  const stopped = stopOf(shared, kernels);
  const cases = casesOf(statistics) - before;
  const elapsedMs = Date.now() - startedAt;
  return { kind: 'fuzz', manifest, statistics, stopped, loss: shared.loss, cases, elapsedMs };
}

/** The campaign that the folder holds, if it is this one, else a new one that is written there. */
function begin(
  groups: readonly KernelGroup[],
  options: FuzzOptions,
): { kind: 'begun'; manifest: Manifest; plans: Plan[] } | Refusal {
  const { folder } = options;
  const isOld = holdsCampaign(folder);
  const old = isOld ? readManifest(folder) : null;
  if (old?.kind === 'error') return refuse(2, old.message);
  const before = old?.manifest ?? null;
  const stored = isOld ? readCorpus(folder) : readStored(options);
  if (stored.kind === 'error') return refuse(2, stored.message);
  const seed = options.seed ?? before?.seed ?? options.defaultSeed;
  const plans = groups.map((group) => planOf(group, stored.stored, seed, options));
  const kernels = groups.map(({ name, hello }, i) => {
    const { device, capabilities } = hello;
    return { name, device, capabilities, fingerprint: fingerprintOf(plans[i]) };
  });
  const { checked, twin = null, properties, shard, fullOneIn, pairsMax } = options;
  const kind = {
    ...(fullOneIn > 1 ? { fullOneIn } : {}),
    ...(pairsMax === PAIRS_MAX ? {} : { pairsMax }),
  };
  const manifest: Manifest = {
    schema: CAMPAIGN_SCHEMA,
    id: campaignId({ seed, checked, twin, properties, ...kind, kernels }),
    ...{ seed, kernels, checked, twin, properties, ...kind },
    shard: `${shard.index}/${shard.count}`,
    commit: headCommit(process.cwd()),
    createdAt: new Date().toISOString(),
  };
  if (before === null) {
    writeCorpus(folder, stored.stored);
    writeManifest(folder, manifest);
    return { kind: 'begun', manifest, plans };
  }
  const other = differenceOf(before, manifest);
  if (other !== null) return refuse(2, `${folder}: ${other}; another --workdir begins anew`);
  return { kind: 'begun', manifest: before, plans };
}

/** What keeps a folder's campaign from being gone on with. */
function differenceOf(old: Manifest, now: Manifest): string | null {
  const facts: [string, unknown, unknown][] = [
    ['the seed', old.seed, now.seed],
    ['the shard', old.shard, now.shard],
    ['--checked', old.checked, now.checked],
    ['the twin', old.twin, now.twin],
    ['the properties', old.properties, now.properties],
    ['--full-one-in', old.fullOneIn ?? 1, now.fullOneIn ?? 1],
    ['--pairs', old.pairsMax ?? PAIRS_MAX, now.pairsMax ?? PAIRS_MAX],
    ['the kernels', old.kernels.map(({ name }) => name), now.kernels.map(({ name }) => name)],
  ];
  for (const [what, a, b] of facts) {
    const [was, is] = [JSON.stringify(a), JSON.stringify(b)];
    if (was !== is) return `${what} of its campaign is ${was}, not ${is}`;
  }
  return old.id === now.id
    ? null
    : `its cases were drawn by other code (commit ${old.commit.slice(0, 12)})`;
}

function planOf(
  { hello }: KernelGroup,
  stored: readonly StoredCase[],
  seed: Seed,
  options: FuzzOptions,
): Plan {
  const { fullOneIn } = options;
  const { capabilities } = hello;
  const space = spaceOfPairs(options.pairsMax);
  const sweep = { fullOneIn, arbitrary: sweepArbitrary(capabilities, space) };
  return planCases({
    ...(fullOneIn > 1 ? { sweep } : {}),
    stored,
    realCache: options.corpus !== null,
    capabilities,
    arbitrary: caseArbitrary(capabilities, space),
    seed,
    generated: options.budget.generated ?? Number.MAX_SAFE_INTEGER / 2,
  });
}

/** The package's seeds, what was found before, and what the ledger speaks of. */
function readStored(
  options: FuzzOptions,
): { kind: 'stored'; stored: StoredCase[] } | { kind: 'error'; message: string } {
  const { corpus, ledger } = options;
  const known = ledger.entries.flatMap((entry): StoredCase[] =>
    entry.case === null || (entry.class === 'crash' && !entry.fixed)
      ? []
      : [{ path: 'ledger', case: entry.case, finding: null }],
  );
  if (corpus === null) return { kind: 'stored', stored: known };
  const seeds = readCases(relative(process.cwd(), join(packageRoot(), 'corpus', 'seeds')), true);
  if (seeds.kind === 'error') return seeds;
  const found = readCases(corpus, true);
  if (found.kind === 'error') return found;
  return { kind: 'stored', stored: [...seeds.stored, ...found.stored, ...known] };
}

/** Reads the journals of earlier sessions. Returns what is wrong with them, a sentence each. */
function restore(
  kernels: readonly FuzzKernel[],
  statistics: CampaignStatistics,
  options: FuzzOptions,
): string[] {
  const problems: string[] = [];
  const states: (() => void)[] = [];
  for (const path of segmentPaths(journalFolder(options.folder))) {
    const report = readSegment(path, ({ header, line, cells }) => {
      statistics.start(header);
      statistics.add(header, line, cells);
      const kernel = kernels.find(({ name }) => name === header.kernel);
      if (kernel === undefined) return;
      const { tracker } = kernel;
      if (line.kind === 'finding') {
        const { signature, state, index } = line;
        if (state === 'known') tracker.noteKnown(signature);
        else if (state !== 'new') states.push(() => tracker.restore(signature, state, index));
      }
      if (line.kind !== 'case' || line.case === undefined) return;
      const { index, hash, origin, case: c } = line;
      for (const { property, signature, message } of line.failures ?? []) {
        if (options.ledger.covering(kernel.name, signature, c) !== null) continue;
        if (options.isKnown(property, signature)) continue;
        const planned = { index, hash, origin, case: c };
        tracker.note(planned, property, { kind: 'fail', signature, message });
      }
    });
    if (report.problem !== null) problems.push(report.problem);
  }
  for (const apply of states) apply();
  return problems;
}

function casesOf({ kernels }: CampaignStatistics): number {
  return [...kernels.values()].reduce((sum, { done }) => sum + done.size, 0);
}

function shardLength(plans: readonly Plan[], { shard }: FuzzOptions): number {
  const lengthOf = ({ length }: Plan) =>
    Math.max(0, Math.ceil((length - shard.index + 1) / shard.count));
  return plans.reduce((sum, plan) => sum + lengthOf(plan), 0);
}

async function runLanes(
  groups: readonly KernelGroup[],
  kernels: readonly FuzzKernel[],
  manifest: Manifest,
  shared: FuzzShared,
): Promise<void> {
  const { options, statistics } = shared;
  const session = Date.now().toString(36) + process.pid.toString(36);
  const names = options.properties ?? catalogue.map(({ name }) => name);
  const properties = [RUN, ...names];
  if (options.twin !== undefined && !names.includes(TWIN)) properties.push(TWIN);
  if (options.fullOneIn > 1) properties.push(NATIVE_REFERENCE);
  if (options.ledger.entries.length > 0) properties.push(LEDGER_PROPERTY);
  const writers: SegmentWriter[] = [];
  const running = groups.flatMap((group, i) =>
    group.lanes.map(async (at) => {
      const { uri, slot, hello } = at;
      const writer = SegmentWriter.open(journalFolder(options.folder), {
        ...{ kind: 'segment', schema: JOURNAL_SCHEMA, campaign: manifest.id, session, slot },
        ...{ kernel: group.name, uri, device: hello.device, properties, at: Date.now() },
      });
      writers.push(writer);
      statistics.start(writer.header);
      await new FuzzLane(at, kernels[i], writer, shared).run();
    }),
  );
  try {
    await Promise.all(running);
  } finally {
    for (const writer of writers) writer.close();
  }
}

function updateFiles(statistics: CampaignStatistics, options: FuzzOptions): void {
  for (const finding of statistics.findings.values()) {
    if (finding.file === null) continue;
    const path = join(findingsFolder(options.folder), finding.file);
    if (!existsSync(path)) continue;
    updateCampaignFinding(path, finding, options.replayCommand(path, finding.uri));
  }
}

function stopOf(
  { options, loss, late }: FuzzShared,
  kernels: readonly FuzzKernel[],
): 'finished' | 'time' | 'interrupt' | 'loss' {
  if (options.interrupt.aborted) return 'interrupt';
  if (late) return 'time';
  // A device that was lost is no harm if the others have done all the work.
  const isDone = kernels.every(({ source }) => source.openCount === 0 && source.isExhausted);
  return loss !== null && !isDone ? 'loss' : 'finished';
}
