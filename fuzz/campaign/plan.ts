// plan.ts - which cases a run consists of, decided before anything runs.
//
// First the stored cases (what failed once), then the real cache, then generated ones. The plan is
// a function of the corpus, of the kernel's capabilities, of the seed and of the number of cases; a
// time becomes a number by a nominal rate for the kind of kernel, so that equal seeds and equal
// times give equal cases on a fast machine and on a slow one.

import type * as fc from 'fast-check';
import { type Case, caseHash } from '../../properties/case.js';
import type { Capabilities } from '../../properties/kernel.js';
import type { StoredCase } from './case-file.js';
import { realCacheCases } from './real-cache.js';
import { drawAt, type Seed } from './seed.js';

/**
 * What may be generated: the real cache is at hand here, and NaN in K or V is a state of the world.
 */
export const CASE_SPACE = { codeLm: true, nonFinite: true } as const;

export interface PlannedCase {
  readonly index: number;
  /** "generated", "real-cache", or the path of a stored case. */
  readonly origin: string;
  readonly case: Case;
  readonly hash: string;
}

export interface PlanOptions {
  readonly stored: readonly StoredCase[];
  readonly realCache: boolean;
  readonly capabilities: Capabilities;
  readonly arbitrary: fc.Arbitrary<Case>;
  readonly seed: Seed;
  readonly generated: number;
}

export interface Plan {
  readonly length: number;
  /** How many cases are of each origin. */
  readonly stored: number;
  readonly realCache: number;
  readonly generated: number;
  /** Generated cases are drawn when they are asked for: a night's plan has millions of them. */
  at(index: number): PlannedCase;
}

export function planCases(options: PlanOptions): Plan {
  const fixed: PlannedCase[] = [];
  const hashes = new Set<string>();
  const add = (origin: string, c: Case) => {
    const hash = caseHash(c);
    if (hashes.has(hash)) return;
    hashes.add(hash);
    fixed.push({ index: fixed.length, origin, case: c, hash });
  };
  for (const { path, case: c } of options.stored) add(path, c);
  const stored = fixed.length;
  for (const c of options.realCache ? realCacheCases(options.capabilities) : []) {
    add('real-cache', c);
  }
  return {
    length: fixed.length + options.generated,
    stored,
    realCache: fixed.length - stored,
    generated: options.generated,
    at(index) {
      if (index < fixed.length) return fixed[index];
      const c = drawAt(options.arbitrary, options.seed, index - fixed.length);
      return { index, origin: 'generated', case: c, hash: caseHash(c) };
    },
  };
}

/**
 * Cases per second and worker that a time is turned into. Nominal, not measured at run time: a rate
 * taken from the clock would make the set of cases depend on the machine. Set so that a planned
 * minute takes about 40 s on two cores of 2.1 GHz.
 */
const RATES = { device: 4, emulated: 1, checked: 0.4 } as const;

export function casesFor(seconds: number, workers: number, capabilities: Capabilities): number {
  const kind = !capabilities.emulated ? 'device' : capabilities.checked ? 'checked' : 'emulated';
  return Math.max(1, Math.floor(seconds * workers * RATES[kind]));
}
