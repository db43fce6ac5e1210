// accuracy-task.ts - placeholder until the accuracy study lands in the next commit.
import type { OpenedStudy } from './study-messages.js';
export interface AccuracySetup {
  readonly study: 'accuracy';
  readonly kernel: string;
}
export interface AccuracyTask {
  readonly study: 'accuracy';
}
export function openAccuracy(_setup: AccuracySetup): OpenedStudy {
  return { kind: 'error', exitCode: 3, message: 'none' };
}
