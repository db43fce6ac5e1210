// clean.ts - the unedited kernels, run on the same cases as the mutants.
//
// A mutant is a fair measure only if the right kernel passes where it fails. Each architecture and
// build has some processes here, which answer whether a case passes; answers are kept, because most
// mutants are killed by the same few cases. Whatever fails is a false positive, and is kept with
// its case.

import { type Case, canonicalJson, caseHash } from '../../properties/case.js';
import type { OutputError } from '../../properties/output-error.js';
import { Lane } from '../campaign/lane.js';
import { outcomeOf } from '../campaign/outcome.js';
import type { Workdir } from '../campaign/workdir.js';
import type { Hello } from '../campaign/worker-process.js';
import type { Build, Control, FalsePositive } from './result.js';

/** Slots of the clean kernels lie beyond those of the mutants. */
const FIRST_SLOT = 1000;

export interface CleanOptions {
  readonly workdir: Workdir;
  readonly caseDeadlineMs: number;
  /** Processes of one architecture and build, at most. */
  readonly width: number;
}

/** A process that answers one question after another. */
interface Desk {
  readonly lane: Lane;
  readonly hello: Hello;
  waiting: number;
  queue: Promise<unknown>;
}

export class CleanKernels {
  private readonly desks = new Map<string, Desk[]>();
  private opened = 0;
  private readonly answers = new Map<string, Promise<boolean>>();
  private readonly measured = new Map<string, Promise<OutputError | null>>();
  private readonly found = new Map<string, FalsePositive>();
  private readonly ran: Record<Build, Set<string>> = { plain: new Set(), checked: new Set() };
  private opening: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: CleanOptions) {}

  /** Whether the clean kernel passes the case in these properties; null: in all. */
  passes(
    architecture: string,
    build: Build,
    c: Case,
    properties: readonly string[] | null,
  ): Promise<boolean> {
    const hash = caseHash(c);
    const key = `${architecture}/${build}/${hash}/${properties?.join() ?? 'all'}`;
    const known = this.answers.get(key);
    if (known !== undefined) return known;
    const answer = this.atDesk(architecture, build, async (lane) => {
      const outcome = await outcomeOf(lane, c, properties, this.options.caseDeadlineMs);
      if (outcome.kind === 'lost' || outcome.kind === 'broken') throw new Error(outcome.message);
      this.ran[build].add(`${architecture}/${hash}`);
      const failures = outcome.verdicts.flatMap(({ property, verdict }) =>
        verdict.kind === 'fail' ? [{ property, signature: verdict.signature }] : [],
      );
      for (const { property, signature } of failures) {
        const where = { architecture, build, property, signature };
        this.found.set(`${key}/${signature}`, { ...where, case: canonicalJson(c) });
      }
      return failures.length === 0;
    });
    this.answers.set(key, answer);
    return answer;
  }

  /** What the rules of other projects see on the clean kernel's output. */
  measure(architecture: string, c: Case): Promise<OutputError | null> {
    const key = `${architecture}/${caseHash(c)}`;
    const known = this.measured.get(key);
    if (known !== undefined) return known;
    const answer = this.atDesk(architecture, 'plain', (lane) =>
      lane.measure(c, this.options.caseDeadlineMs),
    );
    this.measured.set(key, answer);
    return answer;
  }

  async hello(architecture: string): Promise<Hello> {
    return (await this.desk(architecture, 'plain')).hello;
  }

  async control(): Promise<Control> {
    const errors = await Promise.all(this.measured.values());
    return {
      cases: this.ran.plain.size,
      checkedCases: this.ran.checked.size,
      falsePositives: [...this.found.values()],
      errors: errors.filter((error) => error !== null),
    };
  }

  async close(): Promise<void> {
    await Promise.all([...this.desks.values()].flat().map(({ lane }) => lane.close()));
  }

  private async atDesk<T>(
    architecture: string,
    build: Build,
    work: (lane: Lane) => Promise<T>,
  ): Promise<T> {
    const desk = await this.desk(architecture, build);
    desk.waiting += 1;
    const done = desk.queue.then(() => work(desk.lane));
    desk.queue = done.catch(() => {});
    try {
      return await done;
    } finally {
      desk.waiting -= 1;
    }
  }

  /** The one with the shortest queue; a new one where all are busy. */
  private desk(architecture: string, build: Build): Promise<Desk> {
    const found = this.opening.then(async () => {
      const key = `${architecture}/${build}`;
      const desks = this.desks.get(key) ?? [];
      this.desks.set(key, desks);
      const [idlest] = [...desks].sort((a, b) => a.waiting - b.waiting);
      if (idlest !== undefined && (idlest.waiting === 0 || desks.length >= this.options.width)) {
        return idlest;
      }
      const slot = FIRST_SLOT + this.opened++;
      const { workdir } = this.options;
      const checked = build === 'checked';
      const opened = await Lane.open({ uri: `sim:${architecture}`, checked, workdir, slot });
      if (opened.kind === 'error') throw new Error(opened.message);
      const { lane, hello } = opened;
      const desk: Desk = { lane, hello, waiting: 0, queue: Promise.resolve() };
      desks.push(desk);
      return desk;
    });
    this.opening = found.catch(() => {});
    return found;
  }
}
