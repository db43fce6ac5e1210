// judge.ts - what a worker does with one case: tensors once, then every property in order.
//
// A device error ends the case at once: whatever ran after it on the same device would be blamed
// for something that it did not do. An exception out of a property is a bug of this project and is
// reported as such ("broken"), never as a finding against the kernel.

import type { Case } from '../../properties/case.js';
import { undeclared } from '../../properties/declared.js';
import { judgementOf } from '../../properties/judgement.js';
import type { Kernel, RunResult, Unrefused } from '../../properties/kernel.js';
import { materialize, type TensorSource } from '../../properties/materialize.js';
import type { Property, Verdict } from '../../properties/property.js';
import { ProcessDeath } from '../kernels/process-death.js';
import type { DeviceError, NamedVerdict } from './protocol.js';

export type CaseResult =
  | { kind: 'judged'; verdicts: NamedVerdict[]; deviceError: DeviceError | null }
  /** The kernel's own process (exec:) ended or does not keep the protocol. */
  | { kind: 'died'; cause: string; detail: string }
  | { kind: 'broken'; message: string; stack: string };

/** A kernel that remembers whether its device has reported an error. */
class WatchedKernel implements Kernel {
  deviceError: DeviceError | null = null;

  constructor(private readonly kernel: Kernel) {}

  get uri() {
    return this.kernel.uri;
  }

  get device() {
    return this.kernel.device;
  }

  get capabilities() {
    return this.kernel.capabilities;
  }

  supports(c: Case): string | null {
    return this.kernel.supports(c);
  }

  ownAnswer(c: Case): string | null {
    const { kernel } = this;
    return kernel.ownAnswer === undefined ? kernel.supports(c) : kernel.ownAnswer(c);
  }

  answer(c: Case): string | null {
    return this.kernel.answer === undefined ? this.kernel.supports(c) : this.kernel.answer(c);
  }

  unrefused(c: Case): readonly Unrefused[] {
    return this.kernel.unrefused?.(c) ?? [];
  }

  run(...args: Parameters<Kernel['run']>): RunResult {
    const result = this.kernel.run(...args);
    if (result.kind === 'device-error') this.deviceError ??= result;
    return result;
  }

  close(): void {
    this.kernel.close();
  }
}

/** Of a case that the kernel declines: it counts as run only where that is a failure. */
function declinedVerdict(
  kernel: Kernel,
  c: Case,
  source: TensorSource,
  property: Property,
  reason: string,
): Verdict {
  const declined: Verdict = { kind: 'unsupported', reason };
  if (property.ofAnswers !== true || undeclared(kernel.capabilities, c) !== null) return declined;
  const made = materialize(c, source);
  if (made.kind === 'error') return declined;
  const verdict = property.judge(judgementOf(kernel, c, made.inputs, source));
  return verdict.kind === 'fail' ? verdict : declined;
}

export function judgeCase(
  kernel: Kernel,
  c: Case,
  source: TensorSource,
  properties: readonly Property[],
): CaseResult {
  const watched = new WatchedKernel(kernel);
  let at = 'the tensors';
  try {
    const unsupported = watched.supports(c);
    if (unsupported !== null) {
      const verdicts = properties.map((property) => ({
        property: property.name,
        verdict: declinedVerdict(watched, c, source, property, unsupported),
      }));
      return { kind: 'judged', verdicts, deviceError: watched.deviceError };
    }
    const inputs = materialize(c, source);
    if (inputs.kind === 'error') return { kind: 'broken', message: inputs.message, stack: '' };
    const judgement = judgementOf(watched, c, inputs.inputs, source);
    const verdicts: NamedVerdict[] = [];
    for (const property of properties) {
      at = `property ${property.name}`;
      const verdict = property.judge(judgement);
      verdicts.push({ property: property.name, verdict });
      if (watched.deviceError !== null) break;
    }
    return { kind: 'judged', verdicts, deviceError: watched.deviceError };
  } catch (error) {
    if (error instanceof ProcessDeath) {
      return { kind: 'died', cause: error.how, detail: error.detail };
    }
    const text = error instanceof Error ? error.message : String(error);
    const stack = error instanceof Error ? (error.stack ?? '') : '';
    return { kind: 'broken', message: `${at} threw "${text.split('\n')[0]}"`, stack };
  }
}
