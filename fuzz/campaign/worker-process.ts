// worker-process.ts - one worker seen from the supervisor: start, ask, end.
//
// Everything that can happen to a process while it runs a case comes back as a value: it answered,
// it died (by which signal), or it was silent until the deadline and was killed. The case is on
// disk before the process gets it. `close` is awaited rather than `exit`, because only then has the
// last of its messages and of its error output arrived.
//
// A worker leads a process group of its own, and it ends with all that it has started. Limits on
// memory, processes and output are watched from outside, so that no kernel has to keep them itself:
// one that breaks a limit is killed and its case is a crash with that cause.

import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Case, canonicalJson } from '../../properties/case.js';
import type { Capabilities, Device } from '../../properties/kernel.js';
import type { OutputError } from '../../properties/output-error.js';
import type { KernelListing } from '../kernels/open.js';
import { caseDeadlineMs } from './case-deadline.js';
import { Mailbox } from './mailbox.js';
import {
  COOKIE,
  killTree,
  offerToOomKiller,
  supervised,
  usageOf,
  waitedForProcessor,
} from './process-tree.js';
import type { DeviceError, FromWorker, NamedVerdict, ToWorker } from './protocol.js';
import type { SweepResult } from './sweep.js';
import type { Workdir } from './workdir.js';

/** A first build of a mutant compiles the kernels, about 20 s on two slow cores. */
const OPEN_DEADLINE_MS = 300_000;
/** Of what a dying kernel wrote to its error output, the end is kept. */
const STDERR_BYTES_MAX = 4096;
/** How often the limits are looked at while a case runs. */
const WATCH_MS = 100;
/** After its exit, how long a worker's pipes may stay open (somebody else may hold them). */
const CLOSE_MS = 1_000;

export interface WorkerLimits {
  /** Of the worker and all that it started; null: no limit but the machine's. */
  readonly memoryBytes: number | null;
  readonly processes: number;
  /** Of error output during one case. */
  readonly outputBytes: number;
}

/** More than any well-behaved kernel needs, little enough for a machine to bear. */
export const DEFAULT_LIMITS: WorkerLimits = {
  memoryBytes: null,
  processes: 64,
  outputBytes: 16 * 1024 * 1024,
};

const WORKER_PATH = fileURLToPath(new URL('./worker.js', import.meta.url));

export interface WorkerOptions {
  readonly uri: string;
  readonly checked: boolean;
  /** A second kernel that has to give the same bits. */
  readonly twin?: string | undefined;
  /** The native reference is opened with it: `sweep` may be called. */
  readonly sweep?: boolean | undefined;
  readonly workdir: Workdir;
  /** Number of this worker, the name of its pending file. */
  readonly slot: number;
  /** Another program that speaks the protocol; for tests. */
  readonly workerPath?: string;
  readonly limits?: WorkerLimits | undefined;
}

export interface Hello {
  readonly device: Device;
  readonly capabilities: Capabilities;
}

export type OpenWorkerResult =
  | { kind: 'open'; worker: WorkerProcess; hello: Hello }
  /** cause: how the process ended, if it did. */
  | { kind: 'error'; exitCode: 2 | 3; message: string; cause?: string };

export type Listed =
  | { kind: 'listed'; kernels: KernelListing[] }
  | { kind: 'error'; exitCode: 3; message: string };

export type CaseAnswer =
  | { kind: 'judged'; verdicts: NamedVerdict[]; deviceError: DeviceError | null }
  | { kind: 'broken'; message: string; stack: string }
  /** cause: "SIGSEGV", "exit-134" or the limit that was broken; the process is gone. */
  | { kind: 'crash'; cause: string; detail: string }
  | { kind: 'timeout'; ms: number };

type Reply =
  | { kind: 'message'; message: FromWorker }
  | { kind: 'closed'; cause: string; detail: string }
  | { kind: 'silent' };

type StartOptions = Pick<WorkerOptions, 'workdir' | 'slot' | 'workerPath' | 'limits'>;

let started = 0;

/** Why there is no answer to what a process is asked first. */
function endOf(reply: Reply): string {
  if (reply.kind !== 'closed') return `nothing came back within ${OPEN_DEADLINE_MS / 1000} s`;
  const { cause, detail } = reply;
  return `the process ended with ${cause}${detail === '' ? '' : ` (${detail})`}`;
}

export class WorkerProcess {
  private stderr = '';
  private outputBytes = 0;
  private nextId = 0;
  private closed: { cause: string } | null = null;
  private readonly mailbox = new Mailbox<Reply>();
  /** The limit that the process broke, or "ours": killed from here for another reason. */
  private killedFor: string | null = null;
  private whenClosed: (() => void) | null = null;
  private readonly limits: WorkerLimits;

  private constructor(
    private readonly child: ChildProcess,
    private readonly cookie: string,
    private readonly options: StartOptions,
  ) {
    this.limits = options.limits ?? DEFAULT_LIMITS;
    if (child.pid !== undefined) offerToOomKiller(child.pid);
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr = (this.stderr + text).slice(-STDERR_BYTES_MAX);
      this.outputBytes += text.length;
      if (this.outputBytes > this.limits.outputBytes) this.killFor('output-limit');
    });
    child.on('message', (message: FromWorker) => this.mailbox.settle({ kind: 'message', message }));
    child.on('error', (error) => this.end(`spawn (${error.message})`));
    child.on('exit', (code, signal) => {
      // What it started may hold its pipes, and must not outlive it.
      if (child.pid !== undefined) killTree(child.pid, this.cookie);
      setTimeout(() => this.end(signal ?? `exit-${code}`), CLOSE_MS).unref();
    });
    child.on('close', (code, signal) => this.end(signal ?? `exit-${code}`));
  }

  /** Starts a process and lets it open the kernel. */
  static async open(options: WorkerOptions): Promise<OpenWorkerResult> {
    const worker = WorkerProcess.start(options);
    const { uri, checked, twin, sweep = false } = options;
    const message: ToWorker = { kind: 'open', uri, checked, twin, sweep };
    const reply = await worker.ask(message, OPEN_DEADLINE_MS);
    if (reply.kind === 'message' && reply.message.kind === 'hello') {
      const { device, capabilities } = reply.message;
      return { kind: 'open', worker, hello: { device, capabilities } };
    }
    await worker.kill();
    if (reply.kind === 'message' && reply.message.kind === 'not-opened') {
      return { kind: 'error', exitCode: reply.message.exitCode, message: reply.message.message };
    }
    const why = `${options.uri}: cannot be opened, ${endOf(reply)}`;
    const ended = reply.kind === 'closed' ? { cause: reply.cause } : {};
    return { kind: 'error', exitCode: 3, message: why, ...ended };
  }

  /** What can be opened, asked of a process of its own: looking may load the addon. */
  static async list(workdir: Workdir): Promise<Listed> {
    const worker = WorkerProcess.start({ workdir, slot: 0 });
    const reply = await worker.ask({ kind: 'list' }, OPEN_DEADLINE_MS);
    await worker.kill();
    if (reply.kind === 'message' && reply.message.kind === 'listing') {
      return { kind: 'listed', kernels: reply.message.kernels };
    }
    const message = `what can be opened here is not known, ${endOf(reply)}; see kvproof doctor`;
    return { kind: 'error', exitCode: 3, message };
  }

  private static start(options: StartOptions): WorkerProcess {
    const cookie = `${process.pid}-${started++}`;
    const child = fork(options.workerPath ?? WORKER_PATH, [], {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      // A group of its own: what a kernel starts (exec:) is ended with it.
      detached: true,
      env: { ...supervised(), [COOKIE]: cookie },
    });
    return new WorkerProcess(child, cookie, options);
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /** Runs one case. After a crash, a timeout or a device error the process must be replaced. */
  async judge(
    c: Case,
    properties: readonly string[] | null,
    deadlineMs: number,
  ): Promise<CaseAnswer> {
    const request = { kind: 'judge', id: this.nextId++, case: c, properties } as const;
    const ms = caseDeadlineMs(c, deadlineMs);
    const reply = await this.run(canonicalJson(c), request, ms);
    if (reply.kind === 'silent') return { kind: 'timeout', ms };
    if (reply.kind === 'closed') {
      return { kind: 'crash', cause: reply.cause, detail: reply.detail };
    }
    const { message } = reply;
    if (message.kind === 'judged') {
      return { kind: 'judged', verdicts: message.verdicts, deviceError: message.deviceError };
    }
    if (message.kind === 'died') {
      return { kind: 'crash', cause: message.cause, detail: message.detail };
    }
    if (message.kind === 'broken') {
      return { kind: 'broken', message: message.message, stack: message.stack };
    }
    throw new Error(`a worker answered "${message.kind}" to a case`);
  }

  /** 'lost': no answer, or the device reported an error; the process must be replaced. */
  async sweep(cases: readonly Case[], deadlineMs: number): Promise<SweepResult | 'lost'> {
    const pending = `[${cases.map(canonicalJson).join(',\n')}]`;
    const request = { kind: 'sweep', id: this.nextId++, cases } as const;
    const reply = await this.run(pending, request, deadlineMs);
    if (reply.kind !== 'message') return 'lost';
    const { message } = reply;
    if (message.kind === 'swept') return message.deviceError === null ? message : 'lost';
    if (message.kind === 'broken') return message;
    throw new Error(`a worker answered "${message.kind}" to a sweep`);
  }

  /** 'lost': no answer; the process must be replaced. */
  async measure(c: Case, deadlineMs: number): Promise<OutputError | null | 'lost'> {
    const reply = await this.ask({ kind: 'measure', id: this.nextId++, case: c }, deadlineMs);
    if (reply.kind !== 'message') return 'lost';
    if (reply.message.kind === 'measured') return reply.message.error;
    throw new Error(`a worker answered "${reply.message.kind}" to a measurement`);
  }

  /** Ends the process and all that it started, and waits until it is gone. */
  async kill(): Promise<void> {
    if (this.closed !== null) return;
    const gone = new Promise<void>((resolve) => {
      this.whenClosed = resolve;
    });
    this.killFor('ours');
    await gone;
  }

  private killFor(reason: string): void {
    this.killedFor ??= reason;
    if (this.child.pid === undefined) return;
    killTree(this.child.pid, this.cookie);
    this.child.kill('SIGKILL');
  }

  private watch(): void {
    const { memoryBytes, processes } = this.limits;
    if (this.closed !== null || this.child.pid === undefined) return;
    const usage = usageOf(this.child.pid, this.cookie);
    if (usage.processes > processes) this.killFor('process-limit');
    else if (memoryBytes !== null && usage.bytes > memoryBytes) this.killFor('memory-limit');
  }

  /** Asks for a launch: what may end the process is on disk before, and limits are watched. */
  private async run(pending: string, request: ToWorker, deadlineMs: number): Promise<Reply> {
    const { workdir, slot } = this.options;
    workdir.writePending(slot, pending);
    this.outputBytes = 0;
    const watch = setInterval(() => this.watch(), WATCH_MS);
    const reply = await this.ask(request, deadlineMs);
    clearInterval(watch);
    if (reply.kind === 'silent') await this.kill();
    workdir.removePending(slot);
    return reply;
  }

  private ask(message: ToWorker, deadlineMs: number): Promise<Reply> {
    if (this.closed !== null) return Promise.resolve(this.closedReply(this.closed.cause));
    // A process that died in between reports itself by `close`.
    const send = () => this.child.send(message, () => {});
    const waitedMs = () => waitedForProcessor(this.child.pid);
    return this.mailbox.ask(send, deadlineMs, { kind: 'silent' }, waitedMs);
  }

  private end(cause: string): void {
    const limit = this.killedFor === 'ours' ? null : this.killedFor;
    this.closed ??= { cause: limit ?? cause };
    this.whenClosed?.();
    this.mailbox.settle(this.closedReply(this.closed.cause));
  }

  private closedReply(cause: string): Reply {
    const lines = this.stderr.split('\n').filter((line) => line.trim() !== '');
    return { kind: 'closed', cause, detail: (lines.at(-1) ?? '').trim().slice(0, 200) };
  }
}
