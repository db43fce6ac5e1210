// shrunk-finding.ts - the finding that a shrunk failure is, seen once and now. Where it is kept and
// what it is called there is for whoever keeps it.

import type { Device } from '../../properties/kernel.js';
import type { ShrunkGroup } from './failure-group.js';
import { FINDING_SCHEMA, type Finding } from './finding.js';
import type { Seed } from './seed.js';

/** Where and from what the failure was seen. */
export interface Sighting {
  /** URI of the kernel. */
  readonly kernel: string;
  readonly device: Device;
  readonly commit: string;
  readonly seed: Seed;
}

export function shrunkFinding(
  { group, property, result }: ShrunkGroup,
  { kernel, device, commit, seed }: Sighting,
  named: { readonly id: string; readonly replay: string },
): Finding {
  const now = new Date().toISOString();
  const { first, count } = group;
  const { failure, steps, tries, smallest } = result;
  return {
    schema: FINDING_SCHEMA,
    id: named.id,
    property,
    signature: failure.signature,
    message: failure.message,
    kernel,
    case: result.case,
    original: { hash: first.hash, origin: first.origin, seed, index: first.index },
    shrink: { steps, tries, smallest },
    worst: failure.worst ?? null,
    source: failure.source ?? null,
    device,
    commit,
    firstSeen: now,
    lastSeen: now,
    count,
    replay: named.replay,
  };
}
