// build.ts - builds a mutant in a process of its own, with a deadline.
//
// An edit can make the compiler work for ever (a constant that unrolls a loop a million times), so
// the whole process group, compiler included, is ended when the time is over. What was compiled
// before stays in the cache of kernels/mutant-build.ts.

import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { BuildResult } from '../kernels/mutant-build.js';
import type { ChildReply } from './build-child.js';

const CHILD_PATH = fileURLToPath(new URL('./build-child.js', import.meta.url));

type Early =
  | { kind: 'timeout'; message: string }
  | { kind: 'interrupted'; message: string }
  | { kind: 'no-build'; message: string };

export type TimedBuild = BuildResult | Early;

export interface ChildOptions {
  readonly deadlineMs: number;
  readonly interrupt: AbortSignal;
}

export async function buildInChild(
  path: string,
  options: ChildOptions & { readonly checked: boolean },
): Promise<TimedBuild> {
  const reply = await askChild([options.checked ? 'checked' : 'plain', path], options);
  if (reply.kind === 'code') throw new Error('a build answered with a hash');
  return reply;
}

/** A hash of the machine code of a mutant, if it builds; of the clean kernels without a path. */
export function codeInChild(
  path: string | null,
  options: ChildOptions,
): Promise<ChildReply | Early> {
  return askChild(path === null ? ['code'] : ['code', path], options);
}

function askChild(args: string[], options: ChildOptions): Promise<ChildReply | Early> {
  const { deadlineMs, interrupt } = options;
  return new Promise((resolve) => {
    const child = fork(CHILD_PATH, args, {
      detached: true,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    let reply: ChildReply | Early | null = null;
    const end = (early: Early) => {
      reply ??= early;
      // A group of its own (detached): the compiler ends with it.
      if (child.pid !== undefined) killGroup(child.pid);
    };
    const timer = setTimeout(() => {
      end({ kind: 'timeout', message: `not built within ${deadlineMs / 1000} s` });
    }, deadlineMs);
    const stop = () => end({ kind: 'interrupted', message: 'interrupted' });
    interrupt.addEventListener('abort', stop);
    child.on('message', (message: ChildReply) => {
      reply ??= message;
    });
    child.on('error', (error) => end({ kind: 'no-build', message: error.message }));
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      interrupt.removeEventListener('abort', stop);
      const message = `the process that builds ended with ${signal ?? `exit-${code}`}`;
      resolve(reply ?? { kind: 'no-build', message });
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
