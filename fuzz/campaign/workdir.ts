// workdir.ts - the sole owner of the file names inside a working directory (default .kvproof/).
//
//   pending/<pid>-<worker>.json   the case that a worker runs at this moment, written before the
//                                 launch; of a sweep, a list of cases
//
// A case is on disk before a kernel sees it, so that a kernel that takes the whole machine down
// still leaves the case behind. The file is removed when the worker answered; one that remains
// belongs to a run that was cut off, and is a case file like any other (`kvproof replay FILE`).

import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

export type WorkdirResult =
  | { kind: 'workdir'; workdir: Workdir }
  | { kind: 'error'; message: string };

export class Workdir {
  private constructor(readonly path: string) {}

  static open(path: string): WorkdirResult {
    try {
      mkdirSync(join(path, 'pending'), { recursive: true });
    } catch (error) {
      return { kind: 'error', message: `--workdir: ${path} cannot be made (${reasonOf(error)})` };
    }
    return { kind: 'workdir', workdir: new Workdir(path) };
  }

  pendingPath(worker: number): string {
    return join(this.path, 'pending', `${process.pid}-${worker}.json`);
  }

  writePending(worker: number, caseJson: string): void {
    writeDurably(this.pendingPath(worker), caseJson);
  }

  removePending(worker: number): void {
    rmSync(this.pendingPath(worker), { force: true });
  }

  /** Cases that runs which no longer exist left behind. */
  orphans(): string[] {
    const names = readdirSync(join(this.path, 'pending')).sort();
    return names
      .filter((name) => /^\d+-\d+\.json$/.test(name) && !isAlive(Number.parseInt(name, 10)))
      .map((name) => join(this.path, 'pending', name));
  }
}

/** Written, flushed to the disk, then renamed: a reader never sees half a file. */
export function writeDurably(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  const file = openSync(temporary, 'w');
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
}

/** "ENOENT: no such file or directory" and so on, without the path and the call. */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split(', ')[0];
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
