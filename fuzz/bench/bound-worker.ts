// bound-worker.ts - the thread of bound-threads.ts: answers one task after another.

import { parentPort } from 'node:worker_threads';
import { boundL1 } from '../../reference/bound.js';
import { boundL2 } from '../../reference/bound-l2.js';
import type { RowsAnswer, RowsTask } from './bound-threads.js';

parentPort?.on('message', (task: RowsTask) => {
  const { first, problem, softmaxScale, q, head, arithmetic, splits } = task;
  const l1 = boundL1(problem, softmaxScale, q, [head], arithmetic);
  const l2 =
    splits === null ? null : boundL2(problem, softmaxScale, q, [head], arithmetic, splits, l1);
  parentPort?.postMessage({ first, l1, l2 } satisfies RowsAnswer);
});
