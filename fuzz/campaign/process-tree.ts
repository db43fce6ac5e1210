// process-tree.ts - everything that a worker process has started, and its end.
//
// A kernel under test may start processes (a server of its own, or a fork bomb). The worker leads a
// process group and a session; what left both is found by its parents, and what lost its parents by
// a cookie in its environment, which every descendant inherits. All of them are stopped before any
// of them is killed, so that none can start another in between.
//
// Reads /proc, so it sees nothing but the worker itself where there is none (macOS): there the
// process group is what is killed.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

/** Name of the environment variable that marks a worker and all that it starts. */
export const COOKIE = 'KVPROOF_WORKER';
/**
 * Names the process that started a worker. The worker cannot ask for it: whoever started it may be
 * gone before it runs its first line, and then its parent is another one.
 */
export const SUPERVISOR = 'KVPROOF_SUPERVISOR';

/** The environment of a child that ends with this process (serve.ts, endWithParent). */
export function supervised(): NodeJS.ProcessEnv {
  return { ...process.env, [SUPERVISOR]: String(process.pid) };
}

/** More rounds than any tree needs that cannot grow any more. */
const ROUNDS_MAX = 20;
/** Of x86-64, and of most 64-bit Arm kernels; a larger page only makes a limit stricter later. */
const PAGE_BYTES = 4096;

interface ProcessRow {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
}

/** Kills a worker and all that it started. Returns how many processes there were besides it. */
export function killTree(pid: number, cookie: string): number {
  const stopped = new Set<number>();
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const found = membersOf(pid, cookie).filter((member) => !stopped.has(member));
    if (found.length === 0) break;
    for (const member of found) {
      signal(member, 'SIGSTOP');
      stopped.add(member);
    }
  }
  signal(-pid, 'SIGKILL');
  for (const member of stopped) signal(member, 'SIGKILL');
  return stopped.size;
}

/** What a worker and all that it started hold at this moment. */
export function usageOf(pid: number, cookie: string): { processes: number; bytes: number } {
  // A worker without children, the usual case, is known by a few small files.
  const members = hasChildren(pid) ? [pid, ...membersOf(pid, cookie)] : [pid];
  const bytes = members.reduce((sum, member) => sum + residentBytes(member), 0);
  return { processes: members.length, bytes };
}

function residentBytes(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1]) * PAGE_BYTES;
  } catch {
    return 0;
  }
}

/**
 * Milliseconds in which the main thread of a process could run and no processor was free
 * (proc(5), schedstat): since its start, 0 where nobody counts them.
 */
export function waitedForProcessor(pid: number | undefined): number {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ')[1]) / 1e6;
  } catch {
    return 0;
  }
}

/** Start time in clock ticks since boot: with the pid it names a process for ever. */
export function startTicks(pid: number): string | null {
  try {
    return fieldsOf(readFileSync(`/proc/${pid}/stat`, 'latin1'))[19] ?? null;
  } catch {
    return null;
  }
}

/** The kernel's OOM killer takes a worker before it takes the supervisor. */
export function offerToOomKiller(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, '1000');
  } catch {
    // No /proc, or the process has gone: nothing depends on it.
  }
}

function membersOf(pid: number, cookie: string): number[] {
  const rows = allProcesses();
  const members = new Set<number>([pid]);
  for (let size = 0; size !== members.size; ) {
    size = members.size;
    for (const row of rows) {
      const belongs = members.has(row.parent) || row.group === pid || row.session === pid;
      if (belongs) members.add(row.pid);
    }
  }
  for (const row of rows) {
    if (!members.has(row.pid) && hasCookie(row.pid, cookie)) members.add(row.pid);
  }
  members.delete(pid);
  members.delete(process.pid);
  return [...members];
}

function allProcesses(): ProcessRow[] {
  let names: string[];
  try {
    names = readdirSync('/proc');
  } catch {
    return [];
  }
  const rows: ProcessRow[] = [];
  for (const name of names) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const fields = fieldsOf(readFileSync(`/proc/${name}/stat`, 'latin1'));
      if (fields[0] === 'Z') continue;
      const [parent, group, session] = fields.slice(1, 4).map(Number);
      rows.push({ pid: Number(name), parent, group, session });
    } catch {
      // It ended while the list was read.
    }
  }
  return rows;
}

/** From the state on: the name before it stands in brackets and may hold anything. */
function fieldsOf(stat: string): string[] {
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

function hasCookie(pid: number, cookie: string): boolean {
  try {
    return `\0${readFileSync(`/proc/${pid}/environ`, 'latin1')}`.includes(
      `\0${COOKIE}=${cookie}\0`,
    );
  } catch {
    return false;
  }
}

function hasChildren(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).some(
      (thread) => readFileSync(`/proc/${pid}/task/${thread}/children`, 'latin1') !== '',
    );
  } catch {
    return false;
  }
}

function signal(pid: number, name: 'SIGSTOP' | 'SIGKILL'): void {
  try {
    process.kill(pid, name);
  } catch {
    // It ended before.
  }
}
