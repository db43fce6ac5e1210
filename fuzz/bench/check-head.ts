// check-head.ts - before the clock: one KV head of what a kernel has just done with the inputs of
// the bench, judged by the properties that judge any case: codes bit for bit, attention within its
// bound.
//
// The heads of a problem do not know of each other, so one head is a case of its own; its "kernel"
// repeats what was read from the device.

import type { Case } from '../../properties/case.js';
import { errorBound } from '../../properties/error-bound.js';
import { exactCodes } from '../../properties/exact-codes.js';
import { judgementOf } from '../../properties/judgement.js';
import type { Capabilities, Device, Kernel } from '../../properties/kernel.js';
import { noSource } from '../../properties/materialize.js';
import type { HeadSlice } from './device.js';

export interface HeadCheck {
  /** Of the whole problem. */
  readonly case: Case;
  readonly request: number;
  readonly slice: HeadSlice;
  readonly device: Device;
  readonly capabilities: Capabilities;
}

/** The case of one head. */
export function headCase({ case: c, request }: Pick<HeadCheck, 'case' | 'request'>): Case {
  const { tokens, queryHeads, kvHeads } = c.problem;
  const problem = {
    ...c.problem,
    ...{ tokens: [tokens[request]], queryHeads: queryHeads / kvHeads, kvHeads: 1 },
  };
  return { ...c, problem };
}

/** null when the head is right, else one sentence. */
export function checkHead(check: HeadCheck): string | null {
  const { slice, device, capabilities } = check;
  const c = headCase(check);
  const recorded: Kernel = {
    ...{ uri: 'bench', device, capabilities },
    supports: () => null,
    run: () => ({ ...slice, kind: 'ran', violations: [], reports: [], scheduleHash: '' }),
    close: () => {},
  };
  const judgement = judgementOf(recorded, c, slice, noSource);
  for (const property of [exactCodes, errorBound]) {
    const verdict = property.judge(judgement);
    if (verdict.kind === 'fail') return `${property.name}: ${verdict.message}`;
    if (verdict.kind === 'unsupported') return `${property.name}: ${verdict.reason}`;
  }
  return null;
}
