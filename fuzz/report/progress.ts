// progress.ts - what a run says while it runs: on a terminal one line that is redrawn, at most
// every 200 ms, and in a log one line every 5 s, also while a case takes longer. It goes to the
// error output, never into a result.

import { tell } from './writer.js';

const REDRAW_MS = 200;
const LINE_MS = 5_000;
/** How often it is looked whether a line is due. */
const TICK_MS = 1_000;

export interface ProgressState {
  readonly phase: string;
  readonly done: number;
  readonly planned: number;
  readonly failures: number;
}

export class Progress {
  private readonly startedAt = Date.now();
  private readonly terminal = process.stderr.isTTY === true;
  private readonly timer: NodeJS.Timeout;
  private state: ProgressState | null = null;
  private lastAt = this.startedAt;
  private drawn = false;

  constructor(private readonly everyMs = process.stderr.isTTY === true ? REDRAW_MS : LINE_MS) {
    this.timer = setInterval(() => this.draw(), TICK_MS).unref();
  }

  /** Draws `state`, unless it is too early for a further line. */
  update(state: ProgressState): void {
    this.state = state;
    this.draw();
  }

  private draw(): void {
    const now = Date.now();
    if (this.state === null || now - this.lastAt < this.everyMs) return;
    this.lastAt = now;
    const line = progressLine(this.state, now - this.startedAt);
    if (this.terminal) {
      process.stderr.write(`\r\x1b[2K${line.slice(0, (process.stderr.columns || 80) - 1)}`);
      this.drawn = true;
    } else {
      tell(line);
    }
  }

  /** Clears the line, so that the report starts on an empty one. */
  end(): void {
    clearInterval(this.timer);
    if (this.drawn) process.stderr.write('\r\x1b[2K');
    this.drawn = false;
  }
}

/** Says every 5 s what is being waited for: compiling a mutant takes half a minute. */
export class Waiting {
  private readonly startedAt = Date.now();
  private readonly timer: NodeJS.Timeout;

  constructor(what: string, everyMs = LINE_MS) {
    this.timer = setInterval(() => {
      tell(`${what}, ${((Date.now() - this.startedAt) / 1000).toFixed(0)} s`);
    }, everyMs);
  }

  static async during<T>(what: string, work: Promise<T>): Promise<T> {
    const waiting = new Waiting(what);
    try {
      return await work;
    } finally {
      waiting.end();
    }
  }

  end(): void {
    clearInterval(this.timer);
  }
}

export function progressLine(state: ProgressState, elapsedMs: number): string {
  const { phase, done, planned, failures } = state;
  const seconds = elapsedMs / 1000;
  const rate = done / Math.max(seconds, 0.001);
  const found = failures === 0 ? 'nothing found' : `${failures} failing cases`;
  const of = planned > 0 ? ` of ${planned}` : '';
  return `${phase}: ${done}${of}, ${rate.toFixed(1)}/s, ${seconds.toFixed(0)} s, ${found}`;
}
