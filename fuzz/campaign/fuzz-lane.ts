// fuzz-lane.ts - one worker of a campaign: takes a case, runs it, writes it down; between cases it
// confirms and shrinks what was found.
//
// After a failing case the next case comes first and the finding later, so that a crash or a hang
// never keeps a worker from its next case for longer than a new process takes to start. A failure
// that is the process's end is written down after one run; whether it comes again is found out when
// the finding is confirmed.

import { TWIN } from '../../properties/twin.js';
import { asSeen, type FindingContext, writeCampaignFinding } from './campaign-finding.js';
import type { CampaignStatistics } from './campaign-statistics.js';
import type { CaseSource } from './case-source.js';
import { type FailureGroup, type ShrinkContext, shrinkGroup } from './failure-group.js';
import type { FindingTracker } from './finding-tracker.js';
import type { FoundFinding, FuzzOptions } from './fuzz-options.js';
import { type FindingState, failuresOf, type JournalLine, type SegmentWriter } from './journal.js';
import type { GroupLane } from './kernel-group.js';
import type { Loss } from './lane.js';
import { NATIVE_REFERENCE } from './native-agreement.js';
import { type CaseOutcome, RUN, singleOutcome, TIMEOUT } from './outcome.js';
import type { Plan, PlannedCase } from './plan.js';
import { namesFor } from './pool.js';
import type { NamedVerdict } from './protocol.js';

/** A case that the end of the campaign cuts off has this long left. */
const GRACE_MS = 5_000;

export const LEDGER_PROPERTY = 'ledger';

/** Cases that the native reference gets at once: their launches hide each other's latency. */
const SWEEP_BATCH = 64;

type RunEnd = 'passed' | 'failed' | 'lost';

/** What the lanes of one kernel share. */
export interface FuzzKernel {
  readonly name: string;
  readonly plan: Plan;
  readonly source: CaseSource;
  readonly tracker: FindingTracker;
  readonly arbitrary: ShrinkContext['arbitrary'];
}

/** What all lanes of a campaign share. */
export interface FuzzShared {
  readonly options: FuzzOptions;
  readonly statistics: CampaignStatistics;
  readonly findings: Omit<FindingContext, 'kernel' | 'uri' | 'device'>;
  /** By the clock; null: no end. */
  readonly stopAt: number | null;
  /** Resolves when any lane has got further. */
  readonly turn: Turn;
  loss: Loss | null;
  late: boolean;
}

/** Wakes those who wait whenever something has changed. */
export class Turn {
  private waiting: (() => void)[] = [];

  wait(): Promise<void> {
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  wake(): void {
    const woken = this.waiting;
    this.waiting = [];
    for (const resolve of woken) resolve();
  }
}

export class FuzzLane {
  private inProcess = 0;

  constructor(
    private readonly at: GroupLane,
    private readonly kernel: FuzzKernel,
    private readonly writer: SegmentWriter,
    private readonly shared: FuzzShared,
  ) {}

  /** Until nothing is left to do, the time is over, or the kernel cannot be opened any more. */
  async run(): Promise<void> {
    let hasFailed = false;
    while (!this.isCut) {
      const { source, tracker } = this.kernel;
      const isLast = this.isLate && source.openCount === 0;
      // At the end of the time a finding is told by the earliest case that there is.
      const frontier = isLast ? Number.POSITIVE_INFINITY : source.frontier;
      const group = hasFailed ? null : tracker.next(frontier);
      if (group !== null) {
        if (!(await this.confirm(group))) return;
        continue;
      }
      const index = this.isLate ? null : source.take();
      if (index !== null) {
        const end = await this.runFrom(index);
        if (end === 'lost') return;
        hasFailed = end === 'failed';
      } else if (hasFailed) {
        hasFailed = false;
      } else {
        if (isLast || (source.openCount === 0 && !tracker.hasWork)) return;
        await this.shared.turn.wait();
      }
    }
  }

  private get isCut(): boolean {
    const { options, stopAt } = this.shared;
    // What was found just before the end is confirmed and shrunk all the same, within limits.
    const isOver = stopAt !== null && !(Date.now() < stopAt + 4 * options.shrinkMs);
    return options.interrupt.aborted || isOver;
  }

  private get isLate(): boolean {
    const { stopAt } = this.shared;
    if (stopAt === null || Date.now() < stopAt) return false;
    this.shared.late = true;
    return true;
  }

  /** The case at this position; if it is one of a sweep, with others that come next. */
  private async runFrom(first: number): Promise<RunEnd> {
    const { source, plan } = this.kernel;
    const planned = [plan.at(first)];
    while (planned[0].swept === true && planned.length < SWEEP_BATCH) {
      const index = source.take();
      if (index === null) break;
      planned.push(plan.at(index));
    }
    const swept = await this.sweep(planned.filter((one) => one.swept === true));
    let end: RunEnd = 'passed';
    for (const one of planned) {
      if (swept.has(one)) continue;
      if (end === 'lost' || this.isCut) {
        source.giveBack(one.index);
        continue;
      }
      const own = await this.runCase(one);
      if (own !== 'passed') end = own;
    }
    return end;
  }

  /** Judges cases by the native reference, and writes down those that pass. */
  private async sweep(planned: readonly PlannedCase[]): Promise<Set<PlannedCase>> {
    const { ledger, caseDeadlineMs } = this.shared.options;
    const done = new Set<PlannedCase>();
    const asked = planned.filter((one) => ledger.quarantine(this.kernel.name, one.case) === null);
    if (asked.length === 0) return done;
    await this.freshProcessIfDue(asked.length);
    const startedAt = Date.now();
    const cases = asked.map((one) => one.case);
    const verdicts = await this.at.lane.sweep(cases, caseDeadlineMs);
    const ms = (Date.now() - startedAt) / asked.length;
    for (const [i, one] of asked.entries()) {
      const own = verdicts[i];
      if (own === null) continue;
      const ran = { property: RUN, verdict: { kind: 'pass' as const, elements: 0, ratio: 0 } };
      this.record(one, [ran, ...own], ms);
      this.settle(one.index);
      done.add(one);
    }
    return done;
  }

  private async runCase(planned: PlannedCase): Promise<RunEnd> {
    const { source } = this.kernel;
    const { index } = planned;
    const entry = this.shared.options.ledger.quarantine(this.kernel.name, planned.case);
    if (entry !== null) {
      const reason = `not launched: the ledger says that it ends in ${entry.signature}`;
      this.record(planned, [{ property: RUN, verdict: { kind: 'unsupported', reason } }], 0);
      this.settle(index);
      return 'passed';
    }
    await this.freshProcessIfDue();
    const startedAt = Date.now();
    const outcome = await this.outcomeOf(planned);
    if (outcome === 'cut') {
      source.giveBack(index);
      this.shared.turn.wake();
      return 'passed';
    }
    if (outcome.kind === 'lost') {
      source.giveBack(index);
      this.lose(outcome, index);
      return 'lost';
    }
    if (outcome.kind === 'broken') {
      const { hash, origin } = planned;
      const message = outcome.message.slice(0, 2000);
      this.write({ kind: 'broken', index, hash, origin, at: Date.now(), message });
      this.settle(index);
      return 'passed';
    }
    const verdicts = [...outcome.verdicts, ...this.unexpectedPass(planned, outcome.verdicts)];
    const failed = this.record(planned, verdicts, Date.now() - startedAt);
    this.settle(index);
    return failed ? 'failed' : 'passed';
  }

  private async freshProcessIfDue(cases = 1): Promise<void> {
    const { mode, batch } = this.shared.options;
    const isFresh = mode === 'fresh' || (mode === 'both' && this.at.slot % 2 === 1);
    if (isFresh && this.inProcess >= batch) {
      await this.at.lane.close();
      this.inProcess = 0;
    }
    this.inProcess += cases;
  }

  private async outcomeOf(planned: PlannedCase): Promise<CaseOutcome | 'cut'> {
    const { options, stopAt } = this.shared;
    const always = options.twin === undefined ? [] : [TWIN];
    if (options.fullOneIn > 1) always.push(NATIVE_REFERENCE);
    const names = namesFor(planned, { properties: options.properties, always });
    const remaining = stopAt === null ? Number.POSITIVE_INFINITY : stopAt - Date.now();
    const deadlineMs = Math.min(options.caseDeadlineMs, Math.max(0, remaining) + GRACE_MS);
    const onKilled = () => {
      const message = `a worker was killed from outside, case ${planned.hash} runs again`;
      const event = 'killed-from-outside' as const;
      this.write({ kind: 'event', event, index: planned.index, at: Date.now(), message });
    };
    const { lane } = this.at;
    const outcome = await singleOutcome(lane, planned.case, names, deadlineMs, onKilled);
    if (options.interrupt.aborted) return 'cut';
    const isCutOff = deadlineMs < options.caseDeadlineMs && timedOut(outcome);
    return isCutOff ? 'cut' : outcome;
  }

  private unexpectedPass(planned: PlannedCase, verdicts: readonly NamedVerdict[]): NamedVerdict[] {
    const entry = this.shared.options.ledger.expecting(this.kernel.name, planned.hash);
    if (entry === null) return [];
    const hasIt = verdicts.some(
      ({ verdict }) => verdict.kind === 'fail' && verdict.signature === entry.signature,
    );
    if (hasIt || !verdicts.some(({ verdict }) => verdict.kind === 'pass')) return [];
    const signature = `${LEDGER_PROPERTY}/unexpected-pass/${entry.signature}`;
    const found = `the ledger says that this case fails (${entry.link}), and it does not`;
    const message = `${found}: mark the entry as fixed`;
    return [{ property: LEDGER_PROPERTY, verdict: { kind: 'fail', signature, message } }];
  }

  /** true: something failed that nobody knew. */
  private record(planned: PlannedCase, verdicts: readonly NamedVerdict[], ms: number): boolean {
    this.write(this.writer.caseLine(planned, verdicts, Date.now(), ms));
    const { ledger, isKnown } = this.shared.options;
    for (const failed of failuresOf(verdicts)) {
      const { property, signature } = failed;
      const failure = { kind: 'fail' as const, ...failed };
      const group = { property, failure, first: planned, count: 1 };
      const entry = ledger.covering(this.kernel.name, signature, planned.case);
      if (entry !== null || isKnown(property, signature)) {
        if (this.kernel.tracker.noteKnown(signature)) {
          this.tell(group, 'known', null, entry?.link ?? null);
        }
      } else if (this.kernel.tracker.note(planned, property, failure)) {
        this.tell(group, 'new', asSeen(group), null);
      }
    }
    return verdicts.some(({ verdict }) => verdict.kind === 'fail');
  }

  /** false: the lane is lost. */
  private async confirm(group: FailureGroup): Promise<boolean> {
    const { options, stopAt } = this.shared;
    const { signature } = group.failure;
    const latest = stopAt === null ? Number.POSITIVE_INFINITY : stopAt + 4 * options.shrinkMs;
    if (signature.startsWith(`${LEDGER_PROPERTY}/`)) {
      this.tell(group, 'confirmed', asSeen(group), null);
      this.kernel.tracker.settle(signature, 'confirmed');
      return true;
    }
    let lost: Loss | null = null;
    const shrunk = await shrinkGroup(group, [], {
      arbitrary: this.kernel.arbitrary,
      lanes: [this.at.lane],
      properties: options.properties,
      caseDeadlineMs: options.caseDeadlineMs,
      budgetMs: Math.max(1, Math.min(options.shrinkMs, latest - Date.now())),
      interrupt: options.interrupt,
      onTry: () => options.events.changed(),
      onLoss: (loss) => {
        lost = loss;
      },
    });
    this.inProcess = Number.POSITIVE_INFINITY; // the process has run other cases meanwhile
    if (options.interrupt.aborted || lost !== null) {
      this.kernel.tracker.putBack(group);
      if (lost !== null) this.lose(lost, group.first.index);
      return false;
    }
    const isFlaky = shrunk.result.failure.signature.startsWith(`${RUN}/flaky/`);
    const regression = options.ledger.regression(this.kernel.name, signature);
    const state = isFlaky ? 'flaky' : regression === null ? 'confirmed' : 'fixed';
    this.tell(group, state, shrunk, regression?.link ?? null);
    this.kernel.tracker.settle(signature, state);
    this.shared.turn.wake();
    return true;
  }

  private tell(
    group: FailureGroup,
    state: FindingState,
    shrunk: ReturnType<typeof asSeen> | null,
    link: string | null,
  ): void {
    const file = shrunk === null ? null : writeCampaignFinding(shrunk, this.context);
    const { property, first, failure } = group;
    const { signature } = failure;
    const line = { kind: 'finding' as const, signature, property, state, index: first.index };
    this.write({ ...line, at: Date.now(), file, ...(link === null ? {} : { link }) });
    this.found(group, state, file, link, shrunk?.result.failure.message ?? failure.message);
  }

  private found(
    { property, failure }: FailureGroup,
    state: FindingState,
    file: string | null,
    link: string | null,
    message: string,
  ): void {
    const path = file === null ? null : `${this.shared.findings.folder}/${file}`;
    const replay = path === null ? null : this.shared.options.replayCommand(path, this.at.uri);
    const { signature } = failure;
    const found: FoundFinding = {
      ...{ kernel: this.kernel.name, property, signature, message, state, path, replay, link },
    };
    this.shared.options.events.found(found);
  }

  private get context(): FindingContext {
    const { uri, hello } = this.at;
    return { ...this.shared.findings, kernel: this.kernel.name, uri, device: hello.device };
  }

  private lose(loss: Loss, index: number): void {
    this.shared.loss ??= loss;
    const message = loss.message.slice(0, 2000);
    this.write({ kind: 'event', event: 'lost', index, at: Date.now(), message });
    this.shared.options.events.noticed(message);
    this.shared.turn.wake();
  }

  private settle(index: number): void {
    this.kernel.source.settle(index);
    this.shared.turn.wake();
  }

  private write(line: JournalLine): void {
    this.writer.append(line);
    const { statistics, options } = this.shared;
    statistics.add(this.writer.header, line, this.writer.cellsOf(line));
    options.events.changed();
  }
}

function timedOut(outcome: CaseOutcome): boolean {
  return (
    outcome.kind === 'judged' &&
    outcome.verdicts.some(({ verdict }) => verdict.kind === 'fail' && verdict.signature === TIMEOUT)
  );
}
