// study-process.ts - one worker process of a study seen from the supervisor: start, ask, end.
//
// What can happen to it comes back as a value: it answered, it died, or it was silent until the
// deadline and was killed. No retries: a task of a study is a measurement, and a kernel that dies
// in the middle of one is for `kvproof verify` to look into.

import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Device } from '../../properties/kernel.js';
import { Mailbox } from '../campaign/mailbox.js';
import { supervised } from '../campaign/process-tree.js';
import type { FromStudyWorker, StudySetup, StudyTask, ToStudyWorker } from './study-messages.js';

/** Loading the weights takes 2 s, opening a mutant for the first time some minutes. */
const OPEN_DEADLINE_MS = 300_000;
/** Of what a dying process wrote to its error output, the end is kept. */
const STDERR_BYTES_MAX = 4096;

const WORKER_PATH = fileURLToPath(new URL('./study-worker.js', import.meta.url));

export interface ProcessFailure {
  readonly kind: 'failure';
  readonly exitCode: 2 | 3 | 4;
  readonly message: string;
}

export type OpenProcessResult =
  | { kind: 'open'; process: StudyProcess; device: Device }
  | ProcessFailure;

export type TaskAnswer = { kind: 'value'; value: unknown } | ProcessFailure;

type Reply =
  | { kind: 'message'; message: FromStudyWorker }
  | { kind: 'closed'; how: string }
  | { kind: 'silent' };

export class StudyProcess {
  private stderr = '';
  private nextId = 0;
  private closed: string | null = null;
  private readonly mailbox = new Mailbox<Reply>();

  private constructor(private readonly child: ChildProcess) {
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr = (this.stderr + text).slice(-STDERR_BYTES_MAX);
    });
    child.on('message', (message: FromStudyWorker) =>
      this.mailbox.settle({ kind: 'message', message }),
    );
    child.on('error', (error) => this.end(`could not start (${error.message})`));
    child.on('close', (code, signal) => this.end(`ended with ${signal ?? `exit-${code}`}`));
  }

  static async open(setup: StudySetup, workerPath = WORKER_PATH): Promise<OpenProcessResult> {
    const child = fork(workerPath, [], {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: supervised(),
    });
    const opened = new StudyProcess(child);
    const reply = await opened.ask({ kind: 'open', setup }, OPEN_DEADLINE_MS);
    if (reply.kind === 'message' && reply.message.kind === 'ready') {
      return { kind: 'open', process: opened, device: reply.message.device };
    }
    await opened.kill();
    if (reply.kind === 'message' && reply.message.kind === 'not-opened') {
      const { exitCode, message } = reply.message;
      return { kind: 'failure', exitCode, message };
    }
    return failureOf(reply, OPEN_DEADLINE_MS, 'opening');
  }

  async run(task: StudyTask, deadlineMs: number): Promise<TaskAnswer> {
    const reply = await this.ask({ kind: 'run', id: this.nextId++, task }, deadlineMs);
    if (reply.kind === 'message') {
      const { message } = reply;
      if (message.kind === 'done') return { kind: 'value', value: message.value };
      if (message.kind === 'failed') {
        return { kind: 'failure', exitCode: message.exitCode, message: message.message };
      }
      throw new Error(`a worker answered "${message.kind}" to a task`);
    }
    await this.kill();
    return failureOf(reply, deadlineMs, 'a task');
  }

  /** Ends the process, by its own id, and waits until it is gone. */
  async kill(): Promise<void> {
    if (this.closed !== null) return;
    const gone = new Promise((resolve) => this.child.once('close', resolve));
    this.child.kill('SIGKILL');
    await gone;
  }

  private ask(message: ToStudyWorker, deadlineMs: number): Promise<Reply> {
    if (this.closed !== null) return Promise.resolve({ kind: 'closed', how: this.closed });
    // A process that died in between reports itself by `close`.
    const send = () => this.child.send(message, () => {});
    return this.mailbox.ask(send, deadlineMs, { kind: 'silent' });
  }

  private end(how: string): void {
    const lines = this.stderr.split('\n').filter((line) => line.trim() !== '');
    // Of a stack the line with the error says most.
    const line = lines.find((text) => /Error\b/.test(text)) ?? lines.at(-1) ?? '';
    this.closed ??= line === '' ? how : `${how} (${line.trim().slice(0, 200)})`;
    this.mailbox.settle({ kind: 'closed', how: this.closed });
  }
}

function failureOf(
  reply: Exclude<Reply, { kind: 'message' }> | Reply,
  deadlineMs: number,
  during: string,
): ProcessFailure {
  const why =
    reply.kind === 'closed'
      ? `the worker process ${reply.how}`
      : `the worker process was silent for ${deadlineMs / 1000} s and was ended (--deadline)`;
  return { kind: 'failure', exitCode: 3, message: `${during}: ${why}` };
}
