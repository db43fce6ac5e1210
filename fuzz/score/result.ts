// result.ts - what a score says about one mutant, and about all of them.

import type { OutputError } from '../../properties/output-error.js';
import type { Seed } from '../campaign/seed.js';

export type MutantStatus =
  | 'killed'
  | 'survived'
  /** Marked as one that no run can tell from the right kernel, and not killed. */
  | 'equivalent'
  /** The compiler or the linker refuses it, or it does not fit the sources. */
  | 'build-failed'
  /** Not built before the deadline. */
  | 'timeout';

export interface ShrunkSize {
  readonly requests: number;
  readonly kvHeads: number;
  readonly queryHeads: number;
  /** Of all requests together. */
  readonly tokens: number;
  readonly bits: number;
  readonly splits: number;
}

export interface MutantResult {
  readonly id: string;
  readonly class: string;
  readonly path: string;
  /** Of the mutant's file. */
  readonly hash: string;
  readonly architecture: string;
  readonly status: MutantStatus;
  /** Claimed to be equivalent; with status "killed" the claim is wrong. */
  readonly claimedEquivalent: boolean;
  /** The property that killed it, and the failure's signature. */
  readonly property: string | null;
  readonly signature: string | null;
  readonly message: string | null;
  /** Which build showed it. */
  readonly build: 'plain' | 'checked' | null;
  /** Cases until the kill, or in all; on both builds together. */
  readonly cases: number;
  /** How many of them ran on the checked build. */
  readonly checkedCases: number;
  /** From the first case to the kill or to the end; without builds and without shrinking. */
  readonly ms: number;
  readonly buildMs: number;
  readonly shrunk: ShrunkSize | null;
  readonly shrinkMs: number;
  /** Canonical JSON of the case that killed it and of the one it was shrunk to. */
  readonly killingCase: string | null;
  readonly shrunkCase: string | null;
  /** What the rules of other projects look at: one entry for each case they were applied to. */
  readonly errors: readonly OutputError[];
}

/** A case on which the clean kernel failed. */
export interface FalsePositive {
  readonly architecture: string;
  readonly build: 'plain' | 'checked';
  readonly property: string;
  readonly signature: string;
  readonly case: string;
}

/** How the clean kernels did on the same cases. */
export interface Control {
  readonly cases: number;
  readonly checkedCases: number;
  readonly falsePositives: readonly FalsePositive[];
  readonly errors: readonly OutputError[];
}

export interface RuleScore {
  readonly killed: number;
  readonly total: number;
  readonly falsePositives: number;
}

export interface Score {
  readonly kernel: string;
  readonly device: { readonly name: string; readonly sm: string; readonly driver: string };
  readonly seed: Seed;
  readonly commit: string;
  readonly elapsedMs: number;
  /** Mutants asked for; more than there are results if the run was interrupted. */
  readonly planned: number;
  readonly results: readonly MutantResult[];
  readonly control: Control;
  readonly byOracle: Readonly<Record<string, RuleScore>>;
}

export const BUILDS = ['plain', 'checked'] as const;
export type Build = (typeof BUILDS)[number];
