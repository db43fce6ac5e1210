// lane.ts - a place where cases run one after another, with a live worker process in it.
//
// After a crash, a timeout or a device error the process is used up, and the next case starts a
// fresh one. When no fresh one can be opened any more, the lane is lost: on a device that means
// that the device is gone (exit code 4, another machine may succeed), in emulation that the
// environment broke.

import type { Case } from '../../properties/case.js';
import { failedRun, type OutputError } from '../../properties/output-error.js';
import type { NamedVerdict } from './protocol.js';
import {
  type CaseAnswer,
  type Hello,
  type OpenWorkerResult,
  type WorkerOptions,
  WorkerProcess,
} from './worker-process.js';

export interface Loss {
  readonly kind: 'lost';
  readonly exitCode: 3 | 4;
  readonly message: string;
}

export type OpenLaneResult =
  | { kind: 'open'; lane: Lane; hello: Hello }
  | { kind: 'error'; exitCode: 2 | 3; message: string };

export class Lane {
  private constructor(
    private readonly options: WorkerOptions,
    readonly hello: Hello,
    private worker: WorkerProcess | null,
  ) {}

  static async open(options: WorkerOptions): Promise<OpenLaneResult> {
    const opened = await openSteadily(options);
    if (opened.kind === 'error') return opened;
    return {
      kind: 'open',
      lane: new Lane(options, opened.hello, opened.worker),
      hello: opened.hello,
    };
  }

  /** A further lane beside this one; its process starts with its first case. */
  sibling(slot: number): Lane {
    return new Lane({ ...this.options, slot }, this.hello, null);
  }

  async judge(
    c: Case,
    properties: readonly string[] | null,
    deadlineMs: number,
  ): Promise<CaseAnswer | Loss> {
    const ready = await this.ready();
    if (ready.kind === 'lost') return ready;
    const answer = await ready.worker.judge(c, properties, deadlineMs);
    if (answer.kind === 'judged' ? answer.deviceError !== null : answer.kind !== 'broken') {
      await this.close();
    }
    return answer;
  }

  /**
   * Verdicts of the cases that the native reference passes, in their order; null: to be judged in
   * full, as is every case of a batch that ended the process or the device.
   */
  async sweep(cases: readonly Case[], deadlineMs: number): Promise<(NamedVerdict[] | null)[]> {
    const ready = await this.ready();
    if (ready.kind !== 'lost') {
      const swept = await ready.worker.sweep(cases, deadlineMs);
      if (swept !== 'lost' && swept.kind === 'swept') return swept.verdicts;
      if (swept === 'lost') await this.close();
    }
    return cases.map(() => null);
  }

  /** How far the output is from the right one; null: the kernel does not support the case. */
  async measure(c: Case, deadlineMs: number): Promise<OutputError | null> {
    const ready = await this.ready();
    if (ready.kind === 'lost') return failedRun(c);
    const error = await ready.worker.measure(c, deadlineMs);
    if (error !== 'lost') return error;
    await this.close();
    return failedRun(c);
  }

  /** Ends the process; the next case gets a fresh one. */
  async close(): Promise<void> {
    const { worker } = this;
    this.worker = null;
    await worker?.kill();
  }

  /** The live process, or a fresh one. */
  private async ready(): Promise<{ kind: 'ready'; worker: WorkerProcess } | Loss> {
    if (this.worker === null) {
      const opened = await openSteadily(this.options);
      if (opened.kind === 'error') {
        const exitCode = this.hello.capabilities.emulated ? 3 : 4;
        return { kind: 'lost', exitCode, message: opened.message };
      }
      this.worker = opened.worker;
    }
    return { kind: 'ready', worker: this.worker };
  }
}

/** A process that is killed from outside while it opens a kernel says nothing about that. */
const OPENINGS_MAX = 3;

async function openSteadily(options: WorkerOptions): Promise<OpenWorkerResult> {
  for (let attempt = 1; ; attempt++) {
    const opened = await WorkerProcess.open(options);
    const wasKilled = opened.kind === 'error' && opened.cause === 'SIGKILL';
    if (!wasKilled || attempt === OPENINGS_MAX) return opened;
  }
}
