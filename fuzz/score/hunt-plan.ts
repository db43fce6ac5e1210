// hunt-plan.ts - the order in which cases are tried on a mutant: what kills soon comes first.
//
// A gate runs what failed before and then anything; a score wants the first kill. Nearly all bugs
// show in small cases if these are diverse, so small draws lead, with the hand-written seeds
// between them; draws of the full space and of every rare kind in turn
// (properties/arbitrary/rare.ts) follow at first one in four, then every other one. The order is a
// function of the seed and of what the kernel declares, so every mutant of an architecture meets
// the same cases.

import { join } from 'node:path';
import type * as fc from 'fast-check';
import { caseArbitrary } from '../../properties/arbitrary/case.js';
import { type Case, caseHash } from '../../properties/case.js';
import type { Capabilities } from '../../properties/kernel.js';
import { readCases } from '../campaign/case-file.js';
import { packageRoot } from '../campaign/package-root.js';
import { CASE_SPACE, type PlannedCase } from '../campaign/plan.js';
import { realCacheCases } from '../campaign/real-cache.js';
import { drawAt, type Seed } from '../campaign/seed.js';

/** About 1,000 pairs of a token and a query head: 10 ms a run on the emulator. */
const SMALL = { multiplyAddsMax: 2 ** 18, tokensMax: 520, requestsMax: 4, kvHeadsMax: 3 } as const;
/** Kinds of full draws in turn; null: as a campaign draws them. A long one takes seconds. */
const FULL_KINDS = [null, 'crowd', 'split', 'shared', 'deep', 'steps', 'shared', 'long'] as const;
/** Cases among which the small ones are three in four; later they are one in two. */
const OPENING = 64;
/** Beyond any number of cases that a score runs: the two kinds of draws never share a stream. */
const FULL_FROM = 1 << 24;

export class HuntPlan {
  private readonly small;
  private readonly full: readonly fc.Arbitrary<Case>[];
  private readonly fixed: readonly { origin: string; case: Case }[];

  constructor(
    readonly capabilities: Capabilities,
    private readonly seed: Seed,
  ) {
    this.small = caseArbitrary(capabilities, { ...CASE_SPACE, ...SMALL });
    this.full = FULL_KINDS.map((kind) =>
      caseArbitrary(capabilities, { ...CASE_SPACE, ...(kind === null ? {} : { always: kind }) }),
    );
    this.fixed = [...seedCases(), ...realCases(capabilities)];
  }

  at(index: number): PlannedCase {
    const { origin, case: c } = this.choose(index);
    return { index, origin, case: c, hash: caseHash(c) };
  }

  /** Of four cases the third is a fixed one while there are any, and the fourth a full draw. */
  private choose(index: number): { origin: string; case: Case } {
    const turn = index >> 2;
    const drawn = (c: Case) => ({ origin: 'generated', case: c });
    if ((index & 3) === 2 && turn < this.fixed.length) return this.fixed[turn];
    const isFull = (index & 3) === 3 || ((index & 1) === 1 && index >= OPENING);
    if (!isFull) return drawn(drawAt(this.small, this.seed, index));
    const full = this.full[(index < OPENING ? turn : index >> 1) % this.full.length];
    return drawn(drawAt(full, this.seed, FULL_FROM + index));
  }
}

function seedCases(): { origin: string; case: Case }[] {
  const read = readCases(join(packageRoot(), 'corpus', 'seeds'), true);
  if (read.kind === 'error') throw new Error(read.message);
  return read.stored.map(({ path, case: c }) => ({ origin: path, case: c }));
}

/** Slices of the real cache cost ten times what a small case does: every second one. */
function realCases(capabilities: Capabilities): { origin: string; case: Case }[] {
  return realCacheCases(capabilities)
    .filter((_, i) => i % 2 === 1)
    .map((c) => ({ origin: 'real-cache', case: c }));
}
