// study-pool.ts - the tasks of a study over worker processes: who runs what, what is stored when.
//
// A task has a key, its name in the records, and a place: tasks of one place share work in a
// process (the prefix pass of a window, a tensor that was read), so that a process stays at a place
// while it has tasks, then takes the place with the most tasks left. Values do not depend on who
// runs them.
//
// Every value is in the records (study-records.ts) before it counts as done; a run that was cut off
// goes on from there.

import type { Device } from '../../properties/kernel.js';
import type { StudySetup, StudyTask } from './study-messages.js';
import { type ProcessFailure, StudyProcess } from './study-process.js';

export interface PlannedTask {
  readonly key: string;
  readonly place: string;
  readonly task: StudyTask;
}

export interface PoolOptions {
  readonly setup: StudySetup;
  readonly tasks: readonly PlannedTask[];
  readonly workers: number;
  readonly deadlineMs: number;
  readonly interrupt: AbortSignal;
  /** Called with every value, as it comes. */
  readonly done: (key: string, value: unknown) => void;
  /** Another program that speaks the messages; for tests. */
  readonly workerPath?: string;
}

export type PoolResult =
  /** device: of the kernel; null when there was nothing left to do. */
  { kind: 'finished'; device: Device | null } | ProcessFailure | { kind: 'interrupted' };

export async function runTasks(options: PoolOptions): Promise<PoolResult> {
  const queue = new TaskQueue(options.tasks);
  const state: { failure: ProcessFailure | null; device: Device | null } = {
    failure: null,
    device: null,
  };
  const processes: StudyProcess[] = [];
  const stop = () => {
    for (const each of processes) void each.kill();
  };
  options.interrupt.addEventListener('abort', stop);
  const lane = async (): Promise<void> => {
    if (options.tasks.length === 0) return;
    const opened = await StudyProcess.open(options.setup, options.workerPath);
    if (opened.kind === 'failure') {
      state.failure ??= opened;
      return;
    }
    const { process, device } = opened;
    state.device ??= device;
    processes.push(process);
    let place: string | null = null;
    while (state.failure === null && !options.interrupt.aborted) {
      const next = queue.take(place);
      if (next === null) break;
      ({ place } = next);
      const answer = await process.run(next.task, options.deadlineMs);
      if (options.interrupt.aborted) break;
      if (answer.kind === 'failure') {
        state.failure ??= { ...answer, message: `${next.key}: ${answer.message}` };
      } else {
        options.done(next.key, answer.value);
      }
    }
    await process.kill();
  };
  const lanes = Math.min(options.workers, Math.max(1, options.tasks.length));
  await Promise.all(Array.from({ length: lanes }, lane));
  options.interrupt.removeEventListener('abort', stop);
  if (options.interrupt.aborted) return { kind: 'interrupted' };
  return state.failure ?? { kind: 'finished', device: state.device };
}

/** Tasks by place. */
export class TaskQueue {
  private readonly places = new Map<string, PlannedTask[]>();
  private readonly taken = new Map<string, number>();

  constructor(tasks: readonly PlannedTask[]) {
    for (const task of tasks) {
      const here = this.places.get(task.place);
      if (here === undefined) this.places.set(task.place, [task]);
      else here.push(task);
    }
  }

  /** The next task at `place`, else one at the place with fewest workers and most tasks left. */
  take(place: string | null): PlannedTask | null {
    let chosen = place;
    if (chosen === null || this.left(chosen) === 0) {
      if (place !== null) this.taken.set(place, this.workersAt(place) - 1);
      chosen = null;
      for (const name of this.places.keys()) {
        if (this.left(name) > 0 && (chosen === null || this.before(name, chosen))) chosen = name;
      }
      if (chosen === null) return null;
      this.taken.set(chosen, this.workersAt(chosen) + 1);
    }
    return this.places.get(chosen)?.shift() ?? null;
  }

  private before(a: string, b: string): boolean {
    const workers = this.workersAt(a) - this.workersAt(b);
    return workers !== 0 ? workers < 0 : this.left(a) > this.left(b);
  }

  private left(place: string): number {
    return this.places.get(place)?.length ?? 0;
  }

  private workersAt(place: string): number {
    return this.taken.get(place) ?? 0;
  }
}
