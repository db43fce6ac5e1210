// reported-finding.ts - the finding that a shrunk failure becomes, stored, with what a report adds.

import { type Case, caseHash } from '../../properties/case.js';
import type { ShrunkGroup } from './failure-group.js';
import type { Finding } from './finding.js';
import { storeFinding } from './finding-store.js';
import { type Sighting, shrunkFinding } from './shrunk-finding.js';

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

export interface StoreContext extends Sighting {
  /** The folder of findings. */
  readonly findings: string;
  readonly replayCommand: (path: string, kernel: string) => string;
}

export function storeShrunk(shrunk: ShrunkGroup, context: StoreContext): ReportedFinding {
  const { first, count } = shrunk.group;
  const id = `${shrunk.property}-${caseHash(shrunk.result.case)}`;
  const finding = shrunkFinding(shrunk, context, { id, replay: '' });
  const stored = storeFinding(context.findings, finding, (path) =>
    context.replayCommand(path, context.kernel),
  );
  const seen = { originalCase: first.case, count, isNew: true };
  return stored.kind === 'error'
    ? { ...seen, finding, path: null, unwritten: stored.message }
    : { ...seen, finding: stored.finding, path: stored.path, unwritten: null };
}
