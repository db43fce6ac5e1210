// device.ts - a GPU with a kernel and a clock, in a process of its own: calls go one after another,
// each with a deadline. The worker (device-worker.ts) ends with its parent.

import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Capabilities, Device } from '../../properties/kernel.js';
import type { NativeProblem } from '../kernels/native-problem.js';

export type TimedOp = 'quantize' | 'append' | 'decode';

/** Calls of native/host/bench.h. */
export type ClockRequest =
  | { readonly call: 'ceilings'; readonly runs: number }
  | {
      readonly call: 'prepare';
      readonly problem: NativeProblem;
      readonly append: boolean;
      readonly seed: number;
    }
  | { readonly call: 'head'; readonly request: number; readonly kvHead: number }
  | { readonly call: 'time'; readonly op: TimedOp; readonly runs: number }
  | {
      readonly call: 'stepPrepare';
      readonly problem: NativeProblem;
      readonly layers: number;
      readonly hidden: number;
      readonly feedForward: number;
      readonly seed: number;
    }
  | { readonly call: 'stepTime'; readonly runs: number }
  | { readonly call: 'release' };

/** One KV head of one request, and the query heads that read it. */
export interface HeadSlice {
  readonly q: Uint16Array; // (query heads, headSize)
  readonly k: Uint16Array; // (tokens, headSize)
  readonly v: Uint16Array; // (tokens, headSize)
  readonly cache: Uint8Array; // (records, record bytes)
  readonly kResidual: Uint16Array; // (128, headSize)
  readonly vResidual: Uint16Array; // (128, headSize)
  readonly output: Uint16Array; // (query heads, headSize)
  readonly lse: Float32Array; // (query heads)
}

interface Values {
  readonly ceilings: { readonly copyGBs: number; readonly readGBs: number };
  readonly prepare: { readonly cacheBytes: number };
  readonly head: HeadSlice;
  readonly time: { readonly ms: Float64Array };
  readonly stepPrepare: { readonly weightBytes: number; readonly cacheBytes: number };
  readonly stepTime: { readonly ms: Float64Array };
  readonly release: object;
}

export type ClockAnswer<Call extends keyof Values> =
  | ({ readonly kind: 'done' } & Values[Call])
  | { readonly kind: 'unsupported' | 'error'; readonly message: string };

/** First message of the worker. */
export type DeviceHello =
  | { readonly kind: 'open'; readonly device: Device; readonly capabilities: Capabilities }
  | { readonly kind: 'error'; readonly exitCode: 2 | 3; readonly message: string };

const WORKER = fileURLToPath(new URL('./device-worker.js', import.meta.url));

export class BenchDevice {
  private constructor(
    private readonly child: ChildProcess,
    readonly hello: Extract<DeviceHello, { kind: 'open' }>,
    private readonly deadlineMs: number,
  ) {}

  static async open(
    uri: string,
    deadlineMs: number,
    worker = WORKER,
  ): Promise<BenchDevice | Extract<DeviceHello, { kind: 'error' }>> {
    const child = fork(worker, [uri], {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    const hello = (await nextMessage(child, deadlineMs)) as DeviceHello;
    if (hello.kind === 'open') return new BenchDevice(child, hello, deadlineMs);
    child.kill('SIGKILL');
    return hello;
  }

  /** The answer of the clock; a process that died or is late is an answer too. */
  async call<Request extends ClockRequest>(
    request: Request,
  ): Promise<ClockAnswer<Request['call']>> {
    const answer = nextMessage(this.child, this.deadlineMs);
    this.child.send(request, (error) => {
      // A process that is gone says so by its exit.
      if (error !== null) this.child.kill('SIGKILL');
    });
    return (await answer) as ClockAnswer<Request['call']>;
  }

  close(): void {
    this.child.kill('SIGKILL');
  }
}

/** The next message, or {kind: 'error'} when the process ends or says nothing in time. */
function nextMessage(child: ChildProcess, deadlineMs: number): Promise<unknown> {
  return new Promise((resolve) => {
    const settle = (value: unknown) => {
      clearTimeout(late);
      child.off('message', settle).off('exit', ended);
      resolve(value);
    };
    const failed = (message: string) => settle({ kind: 'error', exitCode: 3, message });
    const ended = (code: number | null, signal: string | null) =>
      failed(`the process of the kernel ended with ${signal ?? `exit code ${code}`}`);
    const late = setTimeout(() => {
      child.kill('SIGKILL');
      failed(`no answer within ${deadlineMs / 1000} s`);
    }, deadlineMs);
    child.on('message', settle).on('exit', ended);
  });
}
