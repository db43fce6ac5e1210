// sweep.ts - cases judged by the reference in native code alone, a batch at a time: what its counts
// mean as verdicts of properties.
//
// A sweep says "pass" and nothing else. A case about which there is more to say (something differs,
// the kernel refuses it, its tensors are stored) has no verdicts here and is judged in full.

import type { Case } from '../../properties/case.js';
import { determinism } from '../../properties/determinism.js';
import { errorBound } from '../../properties/error-bound.js';
import { exactCodes } from '../../properties/exact-codes.js';
import type { Kernel } from '../../properties/kernel.js';
import { redzone } from '../../properties/redzone.js';
import { NativeKernel } from '../kernels/native.js';
import {
  NativeReference,
  type NativeReferenceResult,
  type NativeVerdict,
  unjudgedCase,
} from '../kernels/native-reference.js';
import type { NamedVerdict } from './protocol.js';

export type SweepResult =
  /** In the order of the cases; null: to be judged in full. */
  | { kind: 'swept'; verdicts: (NamedVerdict[] | null)[]; deviceError: string | null }
  | { kind: 'broken'; message: string; stack: string };

export function sweepReference(kernel: Kernel): NativeReferenceResult {
  if (kernel instanceof NativeKernel) return NativeReference.of(kernel);
  return { kind: 'error', message: `${kernel.uri}: is not a kernel library, only those are swept` };
}

/** null: something is to be looked at. */
function verdictsOf(counts: NativeVerdict): NamedVerdict[] | null {
  const { wrongCodes, redzoneBytes, changedInputs, unwrittenBytes, strayBytes } = counts;
  const wrong = wrongCodes + redzoneBytes + changedInputs + unwrittenBytes + strayBytes;
  const isClean = wrong + counts.differingBytes + counts.rejected === 0 && counts.ratio <= 1;
  if (counts.kind !== 'judged' || !isClean) return null;
  const pass = (property: { readonly name: string }, elements: number, ratio = 0) => ({
    property: property.name,
    verdict: { kind: 'pass' as const, elements, ratio },
  });
  return [
    pass(exactCodes, counts.values),
    pass(redzone, counts.definedBytes),
    pass(determinism, counts.definedBytes),
    pass(errorBound, counts.elements, counts.ratio),
  ];
}

export function sweepCases(
  kernel: Kernel,
  reference: NativeReference,
  cases: readonly Case[],
): SweepResult {
  try {
    const judged = cases.filter((c) => unjudgedCase(c) === null && kernel.supports(c) === null);
    const verdicts = new Map<Case, NamedVerdict[] | null>();
    if (judged.length > 0) {
      const batch = reference.judge(judged);
      if (batch.kind === 'device-error') {
        return { kind: 'swept', verdicts: cases.map(() => null), deviceError: batch.message };
      }
      if (batch.kind !== 'done') return { kind: 'broken', message: batch.message, stack: '' };
      for (const [i, c] of judged.entries()) verdicts.set(c, verdictsOf(batch.verdicts[i]));
    }
    const found = cases.map((c) => verdicts.get(c) ?? null);
    return { kind: 'swept', verdicts: found, deviceError: null };
  } catch (error) {
    const { message, stack = '' } = error instanceof Error ? error : new Error(String(error));
    return { kind: 'broken', message: `the sweep threw "${message.split('\n')[0]}"`, stack };
  }
}
