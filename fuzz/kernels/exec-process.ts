// exec-process.ts - a command as a process that is asked and answers, synchronously.
//
// Node has no synchronous pipe to a live child, so two named pipes are used: this side of them does
// not block, the child's does. Waiting is a short sleep between attempts, so that a deadline, an
// answer that nobody asked for and the end of the process are all seen while waiting. The command
// runs through /bin/sh, which leaves its exit code in a file; its error output goes to a file whose
// end is kept for the report. The child dies with this process: it is killed at its exit, and the
// supervisor kills the whole process group.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { constants as osConstants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { killTree } from '../campaign/process-tree.js';
import {
  decodeBody,
  decodePrefix,
  encodeFrame,
  type Frame,
  FrameError,
  PREFIX_BYTES,
} from './exec-frame.js';
import { ProcessDeath } from './process-death.js';

/** Of the error output, the end is kept. */
const STDERR_BYTES_MAX = 4096;
/** How long the exit code may come after the end of the output. */
const STATUS_WAIT_MS = 2000;
/** What this process starts inherits the worker's cookie: it is known by its parents alone. */
const NO_COOKIE = '';
const SLEEP_MS = [0.02, 0.05, 0.1, 0.2, 0.5, 1];

const sleeper = new Int32Array(new SharedArrayBuffer(4));

function sleep(ms: number): void {
  Atomics.wait(sleeper, 0, 0, ms);
}

/** The command; "$0" keeps its own quoting. */
const SHELL = '(eval "$0"\n)\nprintf %s "$?" >&3';

function isBusy(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'EAGAIN';
}

function makePipe(folder: string, name: string): string {
  const path = join(folder, name);
  const made = spawnSync('mkfifo', ['-m', '600', path], { stdio: 'ignore' });
  if (made.status !== 0) throw new Error(`${path}: mkfifo failed, a named pipe is required`);
  return path;
}

export class ExecProcess {
  private readonly folder: string;
  private readonly child: ChildProcess;
  private readonly toChild: number;
  private readonly fromChild: number;
  private readonly atExit = () => this.kill();
  private nextId = 0;
  private ended = false;

  constructor(readonly command: string) {
    this.folder = mkdtempSync(join(tmpdir(), 'kvproof-exec-'));
    const [input, output] = [makePipe(this.folder, 'in'), makePipe(this.folder, 'out')];
    // The order keeps every open() from waiting for the other end.
    this.fromChild = openSync(output, constants.O_RDONLY | constants.O_NONBLOCK);
    const childOut = openSync(output, constants.O_WRONLY);
    const both = openSync(input, constants.O_RDWR);
    this.toChild = openSync(input, constants.O_WRONLY | constants.O_NONBLOCK);
    const childIn = openSync(input, constants.O_RDONLY);
    closeSync(both);
    const errors = openSync(join(this.folder, 'stderr'), 'w');
    const status = openSync(join(this.folder, 'status'), 'w');
    this.child = spawn('/bin/sh', ['-c', SHELL, command], {
      stdio: [childIn, childOut, errors, status],
    });
    this.child.on('error', () => {}); // no /bin/sh: seen as the end of the output
    this.child.unref();
    for (const fd of [childIn, childOut, errors, status]) closeSync(fd);
    process.on('exit', this.atExit);
  }

  /** Sends a message and waits for its answer. Throws ProcessDeath, or null after the deadline. */
  ask(message: Frame, deadlineMs: number): Frame | null {
    if (this.ended) throw new ProcessDeath('protocol', 'it was asked again after its end');
    const id = this.nextId++;
    const until = performance.now() + deadlineMs;
    this.refuseUnasked('before it was asked');
    const parts = encodeFrame({ ...message, header: { ...message.header, id } });
    if (!parts.every((part) => this.write(part, until))) return null;
    const answer = this.receive(until);
    if (answer === null) return null;
    if (answer.header.id !== id) {
      const found = JSON.stringify(answer.header.id) ?? 'no id';
      throw this.breach(`it answered message ${found}, ${id} was asked`);
    }
    this.refuseUnasked('behind its answer');
    return answer;
  }

  /** The end of what the process wrote to its error output. */
  stderr(): string {
    try {
      return readFileSync(join(this.folder, 'stderr'), 'utf8').slice(-STDERR_BYTES_MAX);
    } catch {
      return '';
    }
  }

  kill(): void {
    if (this.ended) return;
    this.ended = true;
    process.off('exit', this.atExit);
    // The shell's child may hold a device: it ends with everything below it.
    if (this.child.pid !== undefined) killTree(this.child.pid, NO_COOKIE);
    this.child.kill('SIGKILL');
    for (const fd of [this.toChild, this.fromChild]) closeSync(fd);
    rmSync(this.folder, { recursive: true, force: true });
  }

  private breach(why: string): ProcessDeath {
    const words = this.lastWords();
    this.kill();
    return new ProcessDeath('protocol', words === '' ? why : `${why} (its last words: ${words})`);
  }

  private lastWords(): string {
    const lines = this.stderr()
      .split('\n')
      .filter((line) => line.trim() !== '');
    return (lines.at(-1) ?? '').trim().slice(0, 200);
  }

  private death(): ProcessDeath {
    const until = performance.now() + STATUS_WAIT_MS;
    const path = join(this.folder, 'status');
    let text = '';
    while (text === '' && performance.now() < until) {
      text = readFileSync(path, 'utf8');
      if (text === '') sleep(1);
    }
    const words = this.lastWords();
    this.kill();
    if (text === '') return new ProcessDeath('protocol', 'it closed its output and went on');
    const code = Number(text);
    const signal = Object.entries(osConstants.signals).find(([, n]) => n === code - 128)?.[0];
    return new ProcessDeath(signal ?? `exit-${code}`, words);
  }

  private refuseUnasked(when: string): void {
    const one = new Uint8Array(64);
    const count = this.readSome(one, 0);
    if (count === 0) throw this.death();
    if (count === null) return;
    const start = JSON.stringify(
      Buffer.from(one.subarray(0, Math.min(count, 40))).toString('latin1'),
    );
    throw this.breach(`it wrote ${start} ${when}`);
  }

  /** Bytes read, 0 at the end of the output, null where nothing has come yet. */
  private readSome(into: Uint8Array, from: number): number | null {
    try {
      return readSync(this.fromChild, into, from, into.length - from, null);
    } catch (error) {
      if (isBusy(error)) return null;
      throw error;
    }
  }

  private write(bytes: Uint8Array, until: number): boolean {
    let at = 0;
    for (let turn = 0; at < bytes.length; turn++) {
      try {
        at += writeSync(this.toChild, bytes, at, bytes.length - at);
        turn = 0;
      } catch (error) {
        const closed = (error as NodeJS.ErrnoException).code === 'EPIPE';
        if (!closed && !isBusy(error)) throw error;
        // What it wrote says more than that it has ended since.
        this.refuseUnasked(at === 0 ? 'before it was asked' : 'before the question was complete');
        if (closed) throw this.death();
        if (performance.now() > until) return false;
        sleep(SLEEP_MS[Math.min(turn, SLEEP_MS.length - 1)]);
      }
    }
    return true;
  }

  private read(size: number, until: number): Uint8Array | null {
    const bytes = new Uint8Array(size);
    let at = 0;
    for (let turn = 0; at < size; turn++) {
      const count = this.readSome(bytes, at);
      if (count === 0) throw this.death();
      if (count !== null) {
        at += count;
        turn = 0;
        continue;
      }
      if (performance.now() > until) return null;
      sleep(SLEEP_MS[Math.min(turn, SLEEP_MS.length - 1)]);
    }
    return bytes;
  }

  private receive(until: number): Frame | null {
    try {
      const prefix = this.read(PREFIX_BYTES, until);
      if (prefix === null) return null;
      const sizes = decodePrefix(prefix);
      const header = this.read(sizes.header, until);
      if (header === null) return null;
      const body = this.read(sizes.tensors, until);
      return body === null ? null : decodeBody(header, body);
    } catch (error) {
      if (error instanceof FrameError) throw this.breach(error.message);
      throw error;
    }
  }
}
