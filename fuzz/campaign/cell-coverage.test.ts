// Coverage of cells and pairs: counted from the cases that ran, against what the kernel declares.
import { describe, expect, it } from 'vitest';
import { caseArbitrary } from '../../properties/arbitrary/case.js';
import { caseHash } from '../../properties/case.js';
import type { Capabilities } from '../../properties/kernel.js';
import { referenceCapabilities } from '../../properties/reference-kernel.js';
import { cellCoverage } from './cell-coverage.js';
import type { CaseRecord } from './pool.js';
import { drawAt } from './seed.js';

const capabilities: Capabilities = {
  ...referenceCapabilities(null),
  formats: [
    { format: 'bitdecoding', kAxis: ['channel'], bits: [4, 2], groups: [32], headSizes: [128] },
  ],
  headsPerKvMax: 16,
};
const space = { codeLm: false, nonFinite: false };

function recordsOf(count: number, kind: 'pass' | 'unsupported'): CaseRecord[] {
  const arbitrary = caseArbitrary(capabilities);
  return Array.from({ length: count }, (_, index) => {
    const c = drawAt(arbitrary, 1, index);
    const verdict =
      kind === 'pass' ? { kind, elements: 1, ratio: 0 } : { kind, reason: 'the kernel says so' };
    const planned = { index, origin: 'generated', case: c, hash: caseHash(c) };
    return { planned, verdicts: [{ property: 'exact-codes', verdict }] };
  });
}

describe('cellCoverage', () => {
  it('of no case reaches nothing and names every pair', () => {
    const { reached, total, pairs } = cellCoverage([], capabilities, space);
    expect(reached).toBe(0);
    expect(total).toBeGreaterThan(1000);
    expect(pairs.missing).toHaveLength(pairs.total);
    expect(pairs.missing).toContain('2 bits with k:grid');
  });

  it('counts no case that the kernel did not run', () => {
    expect(cellCoverage(recordsOf(50, 'unsupported'), capabilities, space).reached).toBe(0);
  });

  it('of 300 generated cases reaches nearly every pair and a part of the cells', () => {
    const { reached, total, pairs } = cellCoverage(recordsOf(300, 'pass'), capabilities, space);
    expect(reached).toBeGreaterThan(total / 10);
    expect(reached).toBeLessThan(total);
    expect(pairs.reached + pairs.missing.length).toBe(pairs.total);
    expect(pairs.reached).toBeGreaterThan(0.75 * pairs.total);
  });
});
