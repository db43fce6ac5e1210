// study-messages.ts - what a study's supervisor and its worker processes say to one another.
//
// A worker is opened once for a study and then answers task after task; what a task and its value
// are is the business of the study (perplexity-task.ts, accuracy-task.ts).

import type { Device } from '../../properties/kernel.js';
import type { AccuracySetup, AccuracyTask } from './accuracy-task.js';
import type { BoundsSetup, BoundsTask } from './bounds.js';
import type { PerplexitySetup, PerplexityTask } from './perplexity-task.js';

export type StudySetup = PerplexitySetup | AccuracySetup | BoundsSetup;
export type StudyTask = PerplexityTask | AccuracyTask | BoundsTask;

export type ToStudyWorker =
  | { kind: 'open'; setup: StudySetup }
  | { kind: 'run'; id: number; task: StudyTask };

/** exitCode as in README.md: 2 the request is wrong, 3 the tool or environment, 4 a lost device. */
export type FromStudyWorker =
  | { kind: 'ready'; device: Device }
  | { kind: 'not-opened'; exitCode: 2 | 3; message: string }
  | { kind: 'done'; id: number; value: unknown }
  | { kind: 'failed'; id: number; exitCode: 2 | 3 | 4; message: string };

/** One study as a worker runs it. */
export interface StudyRunner {
  readonly device: Device;
  /** Throws StudyFailure for what is expected to go wrong. */
  run(task: StudyTask): unknown;
}

export type OpenedStudy =
  | { kind: 'runner'; runner: StudyRunner }
  | { kind: 'error'; exitCode: 2 | 3; message: string };

export class StudyFailure extends Error {
  constructor(
    message: string,
    readonly exitCode: 2 | 3 | 4,
  ) {
    super(message);
  }
}
