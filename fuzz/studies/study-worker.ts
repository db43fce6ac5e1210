// study-worker.ts - the entry point of a study's worker process: opens one study, then runs task
// after task. Kernels run here and nowhere else.

import { endWithParent } from '../campaign/serve.js';
import { openAccuracy } from './accuracy-task.js';
import { openBounds } from './bounds.js';
import { openPerplexity } from './perplexity-task.js';
import {
  type FromStudyWorker,
  type OpenedStudy,
  StudyFailure,
  type StudyRunner,
  type StudySetup,
  type ToStudyWorker,
} from './study-messages.js';

function open(setup: StudySetup): OpenedStudy {
  switch (setup.study) {
    case 'perplexity':
      return openPerplexity(setup);
    case 'accuracy':
      return openAccuracy(setup);
    case 'bounds':
      return openBounds(setup);
  }
}

function send(message: FromStudyWorker): void {
  process.send?.(message);
}

let runner: StudyRunner | null = null;

function answer(message: ToStudyWorker): void {
  if (message.kind === 'open') {
    const opened = open(message.setup);
    if (opened.kind === 'error') {
      send({ kind: 'not-opened', exitCode: opened.exitCode, message: opened.message });
      return;
    }
    ({ runner } = opened);
    send({ kind: 'ready', device: runner.device });
    return;
  }
  if (runner === null) throw new Error('a task came before the study was opened');
  const { id, task } = message;
  try {
    send({ kind: 'done', id, value: runner.run(task) });
  } catch (error) {
    if (!(error instanceof StudyFailure)) throw error;
    send({ kind: 'failed', id, exitCode: error.exitCode, message: error.message });
  }
}

endWithParent();
process.on('message', answer);
process.on('disconnect', () => process.exit(0));
// Ctrl-C in a terminal reaches every process of the group; the supervisor decides what ends when.
process.on('SIGINT', () => {});
