// check-pool.ts - checks of heads on as many threads as the machine has cores, while the device
// goes on with the next row.

import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { HeadCheck } from './check-head.js';

export class CheckPool {
  private running = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(
    private readonly threads = availableParallelism(),
    private readonly worker = new URL('./check-worker.js', import.meta.url),
  ) {}

  /** null when the head is right, else one sentence. The slice moves to the thread. */
  async check(check: HeadCheck): Promise<string | null> {
    if (this.running === this.threads) {
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    } else {
      this.running++;
    }
    try {
      return await this.onThread(check);
    } finally {
      const next = this.waiting.shift();
      if (next === undefined) this.running--;
      else next();
    }
  }

  private onThread(check: HeadCheck): Promise<string | null> {
    const transfer = Object.values(check.slice).flatMap((array) =>
      ArrayBuffer.isView(array) ? [array.buffer as ArrayBuffer] : [],
    );
    return new Promise((resolve) => {
      const worker = new Worker(this.worker, {
        workerData: check,
        transferList: [...new Set(transfer)],
      });
      worker.once('message', resolve);
      worker.once('error', (error) => resolve(`the check failed: ${error.message}`));
      worker.once('exit', () => resolve('the check ended without an answer'));
    });
  }
}
