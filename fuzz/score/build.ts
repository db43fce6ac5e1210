// build.ts - builds a mutant in a process of its own, with a deadline.
//
// An edit can make the compiler work for ever (a constant that unrolls a loop a million times), so
// the whole process group, compiler included, is ended when the time is over. What was compiled
// before stays in the cache of kernels/mutant-build.ts.

import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { BuildResult } from '../kernels/mutant-build.js';

const CHILD_PATH = fileURLToPath(new URL('./build-child.js', import.meta.url));

export type TimedBuild =
  | BuildResult
  | { kind: 'timeout'; message: string }
  | { kind: 'interrupted'; message: string };

export interface BuildOptions {
  readonly checked: boolean;
  readonly deadlineMs: number;
  readonly interrupt: AbortSignal;
}

export function buildInChild(path: string, options: BuildOptions): Promise<TimedBuild> {
  const { checked, deadlineMs, interrupt } = options;
  return new Promise((resolve) => {
    const child = fork(CHILD_PATH, [path, checked ? 'checked' : 'plain'], {
      detached: true,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    let result: TimedBuild | null = null;
    const end = (early: TimedBuild) => {
      result ??= early;
      // A group of its own (detached): the compiler ends with it.
      if (child.pid !== undefined) killGroup(child.pid);
    };
    const timer = setTimeout(() => {
      end({ kind: 'timeout', message: `not built within ${deadlineMs / 1000} s` });
    }, deadlineMs);
    const stop = () => end({ kind: 'interrupted', message: 'interrupted' });
    interrupt.addEventListener('abort', stop);
    child.on('message', (message: BuildResult) => {
      result ??= message;
    });
    child.on('error', (error) => end({ kind: 'no-build', message: error.message }));
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      interrupt.removeEventListener('abort', stop);
      const message = `the process that builds ended with ${signal ?? `exit-${code}`}`;
      resolve(result ?? { kind: 'no-build', message });
    });
  });
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It ended by itself in this moment.
  }
}
