// cores.ts - how many cores there are behind the processors that this process may use. Two hardware
// threads of a core share its units and its caches: twice as many processes are then not twice as
// fast, whatever they do. Linux says which processors share a core; elsewhere, or in a virtual
// machine that hides it, each counts as one.

import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';

/** The numbers of a list of Linux, like `0-3,8`. */
function numbersOf(list: string): number[] {
  return list
    .trim()
    .split(',')
    .flatMap((part) => {
      const [first = Number.NaN, last = first] = part.split('-').map(Number);
      return Array.from({ length: last - first + 1 }, (_, i) => first + i);
    });
}

/** `root`: what holds `proc` and `sys`. */
export function physicalCores(root = '/'): number {
  const read = (path: string) => readFileSync(join(root, path), 'utf8');
  try {
    const allowed = /^Cpus_allowed_list:\s*(.*)$/m.exec(read('proc/self/status'))?.[1] ?? '';
    const cores = numbersOf(allowed).map((cpu) =>
      read(`sys/devices/system/cpu/cpu${cpu}/topology/thread_siblings_list`).trim(),
    );
    return Math.min(new Set(cores).size, availableParallelism());
  } catch {
    return availableParallelism();
  }
}
