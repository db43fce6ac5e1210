// Laws of conformance that are not properties of a campaign: what a kernel does when it is asked
// for what it never offered, on which stream it works, and what it says about its schedule.
// `kvproof conform` asks for them by name.

import type { Case } from './case.js';
import { tensorElements } from './case.js';
import type { Inputs, Kernel } from './kernel.js';
import type { Judgement, Property, Verdict } from './property.js';
import { type Beyond, undeclaredCases } from './refusal.js';
import { notDeterministic, sameBits } from './same-bits.js';

/** Tensors of a refused case are zeros; larger ones are not worth the memory. */
const ELEMENTS_MAX = 2 ** 20;
/** Refused cases that are run all the same. */
const RUNS_MAX = 6;

/** A library's host throws for an argument that C cannot express: declined before it is asked. */
function declinedByHost(error: unknown): string {
  if (!(error instanceof Error) || error.name === 'ProcessDeath') throw error;
  return error.message;
}

function answerOf(kernel: Kernel, c: Case): string | null {
  try {
    return kernel.ownAnswer === undefined ? kernel.supports(c) : kernel.ownAnswer(c);
  } catch (error) {
    return declinedByHost(error);
  }
}

export const declines: Property = {
  name: 'declines',
  statement: 'Asked for what it does not declare, the kernel itself says no and gives a reason.',
  blind: 'Arguments that a case cannot express.',

  judge(judgement: Judgement): Verdict {
    const { kernel } = judgement;
    const beyond = undeclaredCases(judgement.case, kernel.capabilities);
    for (const { rule, asked, case: c } of beyond) {
      if (answerOf(kernel, c) !== null) continue;
      const message = `supports: found yes for ${asked}, which is not declared`;
      return { kind: 'fail', signature: `declines/${rule}`, message };
    }
    return { kind: 'pass', elements: beyond.length, ratio: 0 };
  },
};

/** What running a case does that the kernel has declined, or null where it stays declined. */
function forced(kernel: Kernel, { asked, case: c }: Beyond): string | null {
  const { q, kv } = tensorElements(c.problem);
  const inputs: Inputs = {
    ...{ q: new Uint16Array(q), k: new Uint16Array(kv), v: new Uint16Array(kv) },
  };
  try {
    const { kind } = kernel.run(c, inputs, { poison: 0xff });
    return kind === 'unsupported' || kind === 'refused' ? null : `${kind} for ${asked}`;
  } catch (error) {
    declinedByHost(error);
    return null;
  }
}

export const survives: Property = {
  name: 'survives',
  statement:
    'Run with a case that it declines, the kernel returns an error, and gives the same bits as ' +
    'before on the next good case.',
  blind: 'Wrong arguments that the host refuses before the kernel sees them.',

  judge(judgement: Judgement): Verdict {
    const { kernel, case: c, inputs } = judgement;
    const base = judgement.base();
    if (base.kind === 'failed') return base.verdict;
    const small = undeclaredCases(c, kernel.capabilities).filter(({ case: other }) => {
      const { q, kv } = tensorElements(other.problem);
      return q <= ELEMENTS_MAX && kv <= ELEMENTS_MAX && answerOf(kernel, other) !== null;
    });
    const step = Math.max(1, Math.floor(small.length / RUNS_MAX));
    const chosen = small.filter((_, i) => i % step === 0);
    for (const one of chosen) {
      const found = forced(kernel, one);
      if (found === null) continue;
      const message = `run: found ${found}, required an error`;
      return { kind: 'fail', signature: 'survives/ran', message };
    }
    const again = judgement.run(inputs);
    if (again.kind === 'failed') return again.verdict;
    if (!kernel.capabilities.deterministic) return { kind: 'pass', elements: 0, ratio: 0 };
    return sameBits('survives', judgement, base.value, again.value, 'after refused cases');
  },
};

export const schedule: Property = {
  name: 'schedule',
  statement: 'Equal schedules are reported equal, and other seeds of a random one are not.',
  blind: 'Kernels that claim no schedule.',

  judge(judgement: Judgement): Verdict {
    const { kernel, inputs, case: c } = judgement;
    if (!kernel.capabilities.emulated) {
      return { kind: 'unsupported', reason: 'the kernel claims no schedule' };
    }
    const hashes = [1, 1, 2, 3].map((seed) => {
      const random = { policy: 'random', copies: 'random', seed } as const;
      const ran = judgement.run(inputs, { schedule: random }, c);
      return ran.kind === 'ok' ? ran.value.scheduleHash : '';
    });
    const fail = (rule: string, message: string): Verdict => {
      return { kind: 'fail', signature: `schedule/${rule}`, message };
    };
    if (hashes.includes('')) return fail('missing', 'schedule: found no hash, required one');
    if (hashes[0] !== hashes[1]) {
      return fail(
        'unequal',
        `schedule: found ${hashes[1]}, required ${hashes[0]} for the same seed`,
      );
    }
    return { kind: 'pass', elements: hashes.length, ratio: 0 };
  },
};

export const stream: Property = {
  name: 'stream',
  statement:
    'On a stream of its own, behind inputs that arrive on it late, the kernel gives the same bits.',
  blind: 'Work on another stream that happens to start after the inputs have arrived.',

  judge(judgement: Judgement): Verdict {
    const { kernel, inputs } = judgement;
    const { streams = false, deterministic } = kernel.capabilities;
    if (!streams) return { kind: 'unsupported', reason: 'the kernel has no streams' };
    if (!deterministic) return notDeterministic;
    const base = judgement.base();
    if (base.kind === 'failed') return base.verdict;
    const late = judgement.run(inputs, { ownStream: true });
    if (late.kind === 'failed') return late.verdict;
    return sameBits('stream', judgement, base.value, late.value, 'on a stream of its own');
  },
};

export const laws: readonly Property[] = [declines, survives, schedule, stream];
