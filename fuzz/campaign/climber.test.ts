// A climb against plain draws: it must come closer to the bound of a property that has a hill, and
// what it proposes for the cells must reach more of them than as many draws. The hills are made
// here; no kernel runs.
import { describe, expect, it } from 'vitest';
import { type Case, caseHash } from '../../properties/case.js';
import { coverageCells } from '../../properties/coverage-cell.js';
import { caseArbitrary } from '../../properties/index.js';
import { referenceCapabilities } from '../../properties/reference-kernel.js';
import { Climber } from './climber.js';
import { CASE_SPACE } from './plan.js';
import type { CaseRecord } from './pool.js';
import { drawAt } from './seed.js';

const capabilities = referenceCapabilities(null);
const CASES = 600;

/** Four things must come together: a length, the sizes of V and of K, and the mean of K. */
function hill({ problem, tensors }: Case): number {
  const tokens = problem.tokens.reduce((sum, n) => sum + n, 0);
  const { k, v } = tensors;
  if (!('scale' in v) || !('scale' in k)) return 0.01;
  const apart =
    Math.abs(tokens - 777) / 256 +
    Math.abs(v.scale - 9) / 4 +
    Math.abs(k.scale + 5) / 4 +
    Math.abs(k.offset - 21) / 8;
  return 1 / (1 + apart);
}

function recordOf(c: Case, index: number): CaseRecord {
  const planned = { index, origin: 'climbed', case: c, hash: caseHash(c) };
  const verdict = { kind: 'pass' as const, elements: 1, ratio: hill(c) };
  return { planned, verdicts: [{ property: 'error-bound', verdict }] };
}

function climb(seed: number): { climber: Climber; cases: Case[] } {
  const climber = new Climber(capabilities, seed);
  const cases = Array.from({ length: CASES }, (_, i) => {
    const c = climber.propose(i);
    climber.note(recordOf(c, i));
    return c;
  });
  return { climber, cases };
}

describe('Climber', () => {
  const arbitrary = caseArbitrary(capabilities, CASE_SPACE);
  const { climber, cases } = climb(3);
  const drawn = Array.from({ length: CASES }, (_, i) => drawAt(arbitrary, 3, i));

  it('comes closer to the bound than as many draws', () => {
    const best = Math.max(...drawn.map(hill));
    expect(climber.heights.get('error-bound')).toBeGreaterThan(best);
  });

  it('reaches more cells than as many draws', () => {
    const reached = (all: readonly Case[]) => new Set(all.flatMap(coverageCells)).size;
    const forCells = cases.filter((_, i) => i % 2 === 1);
    expect(reached(forCells)).toBeGreaterThan(1.2 * reached(drawn.slice(0, CASES / 2)));
  });

  it('climbs alike from equal seeds, and otherwise from others', () => {
    const hashes = (all: readonly Case[]) => all.map(caseHash).join();
    expect(hashes(climb(3).cases)).toBe(hashes(cases));
    expect(hashes(climb(4).cases)).not.toBe(hashes(cases));
  });
});
