// bound-threads.ts - the reference and its bounds on several threads, for cases that take one core
// minutes: the same bits for any number of threads.
//
// Query rows do not know of each other, so what a thread gets is a problem of its own: one request,
// one KV head and some of its query heads. How many rows that is depends on the problem alone and
// not on the threads, and a row's bits depend on neither.

import { Worker } from 'node:worker_threads';
import type { Arithmetic } from '../../reference/arithmetic.js';
import type { BoundResult } from '../../reference/bound.js';
import type { OutputRange } from '../../reference/bound-l2.js';
import { type HeadCache, oneQueryToken } from '../../reference/cache.js';
import { type Problem, queriesPerKvHead } from '../../reference/problem.js';

/** Rows [first, first + count) of the output, all of one KV head. */
export interface RowsTask {
  readonly first: number;
  readonly problem: Problem;
  readonly softmaxScale: number;
  readonly q: Uint16Array;
  readonly head: HeadCache;
  readonly arithmetic: Arithmetic;
  /** null: L1 alone */
  readonly splits: number | null;
}

export interface RowsAnswer {
  readonly first: number;
  readonly l1: BoundResult;
  readonly l2: OutputRange | null;
}

export interface BoundCall {
  readonly problem: Problem;
  readonly softmaxScale: number;
  /** As boundL1 has them. */
  readonly q: Uint16Array;
  readonly heads: readonly HeadCache[];
  readonly arithmetic: Arithmetic;
  /** What the kernel cut requests into; null: no L2. */
  readonly splits: number | null;
}

export interface ThreadedBounds {
  readonly l1: BoundResult;
  /** null: not asked for, or no schedule is declared. */
  readonly l2: OutputRange | null;
}

/** Query rows of a KV head that go to a thread together, at most: they share dequantised blocks. */
const TASK_ROWS = 4;

/** The tasks of a problem, longest first. */
export function rowsTasks(call: BoundCall): RowsTask[] {
  const { problem, softmaxScale, q, heads, arithmetic, splits } = call;
  const flat = oneQueryToken(problem, heads);
  const { headSize } = problem;
  const queries = queriesPerKvHead(problem);
  const tasks = flat.heads.flatMap((head, index) => {
    const own: RowsTask[] = [];
    for (let h = 0; h < queries; h += TASK_ROWS) {
      const count = Math.min(TASK_ROWS, queries - h);
      const first = index * queries + h;
      own.push({
        ...{ first, softmaxScale, head, arithmetic, splits },
        problem: { ...flat.problem, tokens: [head.tokens], queryHeads: count, kvHeads: 1 },
        q: q.slice(first * headSize, (first + count) * headSize),
      });
    }
    return own;
  });
  return tasks.sort((a, b) => b.head.tokens - a.head.tokens || a.first - b.first);
}

/** Fields with one entry a row; the others have one a channel. */
const ofRows = /^(lse|valueMax|guarded)/;

/** Puts the rows of an answer where they belong. */
function place(all: object, part: object, first: number, headSize: number): void {
  const target = all as Record<string, unknown>;
  for (const [name, values] of Object.entries(part)) {
    if (!(values instanceof Float64Array || values instanceof Uint8Array)) continue;
    const perRow = ofRows.test(name) ? 1 : headSize;
    (target[name] as typeof values).set(values, first * perRow);
  }
}

/** Arrays for all rows, of the kinds that a part has. */
function emptyAs<T extends object>(part: T, rows: number, headSize: number): T {
  const entries = Object.entries(part).map(([name, values]) => {
    const length = ofRows.test(name) ? rows : rows * headSize;
    if (values instanceof Float64Array) return [name, new Float64Array(length)];
    if (values instanceof Uint8Array) return [name, new Uint8Array(length)];
    return [name, values];
  });
  return Object.fromEntries(entries) as T;
}

/** Threads that live from call to call, so that only the first one waits for them to start. */
export class BoundThreads {
  private readonly threads: Worker[];
  /** What a thread died of, also between calls. */
  private failed: Error | null = null;

  constructor(count: number, worker: URL = new URL('./bound-worker.js', import.meta.url)) {
    this.threads = Array.from({ length: count }, () => new Worker(worker));
    for (const thread of this.threads) {
      thread.on('error', (error) => {
        this.failed ??= error;
      });
    }
  }

  /** boundL1, and boundL2 where splits are given. One call at a time. */
  async bound(call: BoundCall): Promise<ThreadedBounds> {
    const tasks = rowsTasks(call);
    const { headSize } = call.problem;
    const rows = call.q.length / headSize;
    let all: { l1: BoundResult; l2: OutputRange | null } | null = null;
    const take = ({ l1, l2, first }: RowsAnswer) => {
      all ??= {
        l1: emptyAs(l1, rows, headSize),
        l2: l2 === null ? null : emptyAs(l2, rows, headSize),
      };
      place(all.l1, l1, first, headSize);
      if (l2 !== null && all.l2 !== null) place(all.l2, l2, first, headSize);
    };
    let next = 0;
    const lane = async (thread: Worker): Promise<void> => {
      while (next < tasks.length) {
        if (this.failed !== null) throw this.failed;
        take(await ask(thread, tasks[next++]));
      }
    };
    await Promise.all(this.threads.map(lane));
    if (all === null) throw new RangeError('problem: no query rows');
    return all;
  }

  async close(): Promise<void> {
    await Promise.all(this.threads.map((thread) => thread.terminate()));
  }
}

function ask(thread: Worker, task: RowsTask): Promise<RowsAnswer> {
  return new Promise((resolve, reject) => {
    const ended = (code: number) => reject(new Error(`a thread ended with ${code}`));
    thread.once('error', reject);
    thread.once('exit', ended);
    thread.once('message', (answer: RowsAnswer) => {
      thread.off('error', reject).off('exit', ended);
      resolve(answer);
    });
    thread.postMessage(task);
  });
}
