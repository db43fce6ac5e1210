// conform.ts - the text and the JSON (schema kvproof.conform/1) of a conformance run: one line a
// law.

import type { Hello } from '../campaign/worker-process.js';
import type { LawResult } from '../conform/conform.js';

export const CONFORM_SCHEMA = 'kvproof.conform/1';

const MARKS = { pass: 'pass', fail: 'FAIL', skip: '  - ' } as const;

export function lawLine({ name, statement, status, cases, message, signature }: LawResult): string {
  const head = `${MARKS[status]}  ${name.padEnd(12)}`;
  if (status === 'pass') return `${head} ${statement} (${cases} cases)`;
  return status === 'fail' ? `${head} ${signature}: ${message}` : `${head} ${message}`;
}

export function countLaws(laws: readonly LawResult[]) {
  const of = (status: LawResult['status']) => laws.filter((law) => law.status === status).length;
  return { passed: of('pass'), failed: of('fail'), skipped: of('skip') };
}

export function conformSummary(laws: readonly LawResult[], cases: number): string {
  const { passed, failed, skipped } = countLaws(laws);
  return `${passed} laws kept, ${failed} broken, ${skipped} say nothing here; ${cases} cases`;
}

export interface ConformReport {
  readonly kernel: string;
  readonly hello: Hello;
  readonly commit: string;
  readonly elapsedMs: number;
  readonly cases: number;
  readonly laws: readonly LawResult[];
}

export function conformJson({ kernel, hello, laws, ...rest }: ConformReport): string {
  const result = {
    schema: CONFORM_SCHEMA,
    seed: null,
    kernel,
    device: hello.device,
    ...rest,
    ...countLaws(laws),
    laws,
  };
  return `${JSON.stringify(result, null, 2)}\n`;
}
