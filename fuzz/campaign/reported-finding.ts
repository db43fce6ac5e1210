// reported-finding.ts - the finding that a shrunk failure becomes, stored, with what a report adds.

import { type Case, caseHash } from '../../properties/case.js';
import type { Device } from '../../properties/kernel.js';
import type { ShrunkGroup } from './failure-group.js';
import { FINDING_SCHEMA, type Finding } from './finding.js';
import { storeFinding } from './finding-store.js';
import type { Seed } from './seed.js';

export interface ReportedFinding {
  readonly finding: Finding;
  /** null: it could not be written, and `unwritten` says why. */
  readonly path: string | null;
  readonly unwritten: string | null;
  /** Not in the baseline. */
  readonly isNew: boolean;
  readonly originalCase: Case;
  /** Cases of this run with this signature. */
  readonly count: number;
}

export interface StoreContext {
  readonly kernel: string;
  readonly device: Device;
  readonly commit: string;
  readonly seed: Seed;
  /** The folder of findings. */
  readonly findings: string;
  readonly replayCommand: (path: string, kernel: string) => string;
}

export function storeShrunk(
  { group, property, result }: ShrunkGroup,
  context: StoreContext,
): ReportedFinding {
  const now = new Date().toISOString();
  const { first, count } = group;
  const finding: Finding = {
    schema: FINDING_SCHEMA,
    id: `${property}-${caseHash(result.case)}`,
    property,
    signature: result.failure.signature,
    message: result.failure.message,
    kernel: context.kernel,
    case: result.case,
    original: { hash: first.hash, origin: first.origin, seed: context.seed, index: first.index },
    shrink: { steps: result.steps, tries: result.tries, smallest: result.smallest },
    worst: result.failure.worst ?? null,
    source: result.failure.source ?? null,
    device: context.device,
    commit: context.commit,
    firstSeen: now,
    lastSeen: now,
    count,
    replay: '',
  };
  const stored = storeFinding(context.findings, finding, (path) =>
    context.replayCommand(path, context.kernel),
  );
  const seen = { originalCase: first.case, count, isNew: true };
  return stored.kind === 'error'
    ? { ...seen, finding, path: null, unwritten: stored.message }
    : { ...seen, finding: stored.finding, path: stored.path, unwritten: null };
}
