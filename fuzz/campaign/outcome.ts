// outcome.ts - from what a worker answered to verdicts, and from verdicts to a failure's signature.
//
// The properties of the catalogue judge what a kernel returned. That it returned at all is judged
// here, under the name "run", by the supervisor: a process that dies, a deadline that passes, a
// device that reports an error. A failure of this kind is run once more, alone in a fresh process:
//   same again   fail, e.g. "run/crash/SIGSEGV", "run/timeout", "run/device-error"
//   different    fail, "run/flaky/..."; a case with two outcomes is always reported

import type { Case } from '../../properties/case.js';
import type { Failure, Verdict } from '../../properties/property.js';
import type { Lane, Loss } from './lane.js';
import type { NamedVerdict } from './protocol.js';
import type { CaseAnswer } from './worker-process.js';

export const RUN = 'run';
export const RUN_STATEMENT =
  'A case that the kernel declares supported runs to its end, before the deadline, in a process ' +
  'and on a device that survive it, and gives the same outcome when it is run again.';

export type CaseOutcome =
  | { kind: 'judged'; verdicts: readonly NamedVerdict[] }
  | { kind: 'broken'; message: string; stack: string }
  | Loss;

/** Runs a case on a lane; a failure of the process or the device is confirmed by a second run. */
export async function outcomeOf(
  lane: Lane,
  c: Case,
  properties: readonly string[] | null,
  deadlineMs: number,
): Promise<CaseOutcome> {
  const first = await lane.judge(c, properties, deadlineMs);
  const failure = runFailure(first);
  if (failure === null) return settled(first);
  const second = await lane.judge(c, properties, deadlineMs);
  if (second.kind === 'lost' || second.kind === 'broken') return second;
  const again = runFailure(second);
  if (again?.signature === failure.signature) return failed(again, second);
  return failed(flaky(failure, again?.signature ?? 'no failure of the run'), second);
}

export const TIMEOUT = `${RUN}/timeout`;
/** Nobody here sends it to a worker that runs a case. */
const KILLED = `${RUN}/crash/SIGKILL`;
/** Runs of a case before a SIGKILL from outside is held against it. */
const KILLS_MAX = 5;

/**
 * One run without a second one: what shrinking asks of a candidate, and a campaign of every case.
 * The exception is a SIGKILL that was not sent from here: the machine may have been out of memory
 * for reasons of its own, so the case is run again, and it is to blame only if that happens every
 * time.
 */
export async function singleOutcome(
  lane: Lane,
  c: Case,
  properties: readonly string[] | null,
  deadlineMs: number,
  onKilled: () => void = () => {},
): Promise<CaseOutcome> {
  for (let kills = 1; ; kills++) {
    const answer = await lane.judge(c, properties, deadlineMs);
    const failure = runFailure(answer);
    if (failure === null) return settled(answer);
    if (failure.signature !== KILLED || kills === KILLS_MAX) return failed(failure, answer);
    onKilled();
  }
}

export function failureOf(outcome: CaseOutcome, property: string): Failure | null {
  if (outcome.kind !== 'judged') return null;
  const named = outcome.verdicts.find((v) => v.property === property);
  return named?.verdict.kind === 'fail' ? named.verdict : null;
}

export function flaky(failure: Failure, second: string): Failure {
  return {
    kind: 'fail',
    signature: `${RUN}/flaky/${failure.signature.replace(/^run\//, '')}`,
    message: `two runs of the case differ: first ${failure.signature}, then ${second}`,
  };
}

function runFailure(answer: CaseAnswer | Loss): Failure | null {
  if (answer.kind === 'crash') {
    const last = answer.detail === '' ? '' : `; its last words: ${answer.detail}`;
    return {
      kind: 'fail',
      signature: `${RUN}/crash/${answer.cause}`,
      message: `the process that ran the kernel ended with ${answer.cause}${last}`,
    };
  }
  if (answer.kind === 'timeout') {
    return {
      kind: 'fail',
      signature: TIMEOUT,
      message: `the kernel did not return within ${answer.ms / 1000} s and was killed`,
    };
  }
  if (answer.kind === 'judged' && answer.deviceError !== null) {
    const { reason, source } = answer.deviceError;
    return {
      kind: 'fail',
      signature: `${RUN}/device-error`,
      message: `the device reported: ${reason}`,
      ...(source === undefined ? {} : { source }),
    };
  }
  return null;
}

/** Properties say "run/..." of a kernel that refused the case: one failure, not one for each. */
function settled(answer: CaseAnswer | Loss): CaseOutcome {
  if (answer.kind === 'lost' || answer.kind === 'broken') return answer;
  if (answer.kind !== 'judged') throw new Error(`${answer.kind} is a failure of the run`);
  const { verdicts } = answer;
  const isOfRun = ({ verdict }: NamedVerdict) =>
    verdict.kind === 'fail' && verdict.signature.startsWith(`${RUN}/`);
  const refused = verdicts.find(isOfRun);
  if (refused !== undefined) {
    const others = verdicts.filter((named) => !isOfRun(named));
    return { kind: 'judged', verdicts: [{ property: RUN, verdict: refused.verdict }, ...others] };
  }
  const unsupported =
    verdicts.length > 0 && verdicts.every((v) => v.verdict.kind === 'unsupported');
  const verdict: Verdict = unsupported
    ? verdicts[0].verdict
    : { kind: 'pass', elements: 0, ratio: 0 };
  return { kind: 'judged', verdicts: [{ property: RUN, verdict }, ...verdicts] };
}

/**
 * Verdicts of properties that came before a device error are kept if they are passes: a failure
 * that the error itself caused would be a second finding for one fault.
 */
function failed(failure: Failure, answer: CaseAnswer | Loss): CaseOutcome {
  const verdicts = answer.kind === 'judged' ? answer.verdicts : [];
  const passed = verdicts.filter(({ verdict }) => verdict.kind === 'pass');
  return { kind: 'judged', verdicts: [{ property: RUN, verdict: failure }, ...passed] };
}
