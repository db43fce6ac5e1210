// conform.ts - judges a kernel by the laws of the interface (law.ts) on a few cases
// (conform-cases.ts), each in a worker process with a deadline.

import type { Case } from '../../properties/case.js';
import { isNonFinite } from '../../properties/recipe.js';
import type { Lane } from '../campaign/lane.js';
import { type CaseOutcome, outcomeOf } from '../campaign/outcome.js';
import { conformCases } from './conform-cases.js';
import { LAWS, type Law, lawOf } from './law.js';

export interface LawResult {
  readonly name: string;
  readonly statement: string;
  readonly status: 'pass' | 'fail' | 'skip';
  /** Cases in which the law was judged. */
  readonly cases: number;
  /** Of the first failure. */
  readonly signature: string | null;
  /** The first failure, or why the law says nothing here. */
  readonly message: string | null;
  readonly case: Case | null;
}

export type ConformResult =
  | { kind: 'judged'; laws: readonly LawResult[]; cases: number }
  | { kind: 'error'; exitCode: 3 | 4; message: string };

interface Broken {
  readonly signature: string;
  readonly message: string;
  readonly case: Case;
}

const names = LAWS.flatMap(({ properties }) => properties);

/** A kernel that crashes or hangs does so in every case: a few are enough. */
const RUN_FAILURES_MAX = 3;

export async function conform(
  lane: Lane,
  options: { deadlineMs: number; onCase: (done: number, total: number) => void },
): Promise<ConformResult> {
  const { capabilities } = lane.hello;
  const cases = conformCases(capabilities);
  const broken = new Map<Law, Broken>();
  const judged = new Map<Law, number>();
  let ran = 0;
  let runFailures = 0;
  for (const [i, c] of cases.entries()) {
    options.onCase(i, cases.length);
    const outcome = await outcomeOf(lane, c, names, options.deadlineMs);
    if (outcome.kind === 'lost') {
      return { kind: 'error', exitCode: outcome.exitCode, message: outcome.message };
    }
    if (outcome.kind === 'broken') {
      return { kind: 'error', exitCode: 3, message: outcome.message };
    }
    ran += 1;
    // NaN and infinities are policy: that case is judged by what it does, not by what it computes.
    const finite = !isNonFinite(c.tensors.q.distribution);
    count(outcome, c, finite, broken, judged);
    if (outcome.verdicts.some(({ property, verdict }) => isRunFailure(property, verdict.kind))) {
      runFailures += 1;
      if (runFailures === RUN_FAILURES_MAX) break;
    }
  }
  const onHost = lane.hello.device.sm === 'host';
  return {
    kind: 'judged',
    cases: ran,
    laws: LAWS.map((law) => resultOf(law, law.idle(capabilities, onHost), broken, judged, ran)),
  };
}

const isRunFailure = (property: string, kind: string) => property === 'run' && kind === 'fail';

const NUMBERS = ['cache', 'attention'];

function count(
  { verdicts }: Extract<CaseOutcome, { kind: 'judged' }>,
  c: Case,
  finite: boolean,
  broken: Map<Law, Broken>,
  judged: Map<Law, number>,
): void {
  const seen = new Set<Law>();
  for (const { property, verdict } of verdicts) {
    if (verdict.kind === 'fail') {
      const law = lawOf(verdict.signature);
      if (!finite && NUMBERS.includes(law.name)) continue;
      if (!broken.has(law)) {
        broken.set(law, { signature: verdict.signature, message: verdict.message, case: c });
      }
      seen.add(law);
    } else if (verdict.kind === 'pass') {
      for (const law of LAWS) if (law.properties.includes(property)) seen.add(law);
    }
  }
  for (const law of seen) judged.set(law, (judged.get(law) ?? 0) + 1);
}

function resultOf(
  law: Law,
  idle: string | null,
  broken: Map<Law, Broken>,
  judged: Map<Law, number>,
  ran: number,
): LawResult {
  const { name, statement } = law;
  const failure = broken.get(law);
  // Laws without properties of their own hold in every run that did not break them.
  const cases = law.properties.length === 0 ? ran : (judged.get(law) ?? 0);
  if (failure !== undefined) {
    const { signature, message } = failure;
    return { name, statement, status: 'fail', cases, signature, message, case: failure.case };
  }
  const nothing = { signature: null, case: null };
  if (idle !== null)
    return { name, statement, status: 'skip', cases: 0, message: idle, ...nothing };
  if (cases === 0) {
    const message = 'no case came as far as this';
    return { name, statement, status: 'skip', cases, message, ...nothing };
  }
  return { name, statement, status: 'pass', cases, message: null, ...nothing };
}
