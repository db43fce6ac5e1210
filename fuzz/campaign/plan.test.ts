// The order of a run that a time may end early: the same cases, the real cache and generated ones
// in turn; and how large generated cases may be.
import { describe, expect, it } from 'vitest';
import { caseArbitrary } from '../../properties/arbitrary/case.js';
import { multiplyAdds } from '../../properties/case.js';
import { ReferenceKernel, referenceCapabilities } from '../../properties/reference-kernel.js';
import { CASE_SPACE, inTurn, PAIRS_MAX, planCases, spaceOfPairs } from './plan.js';
import { drawAt } from './seed.js';

const capabilities = {
  ...referenceCapabilities(null),
  formats: [
    { format: 'bitdecoding', kAxis: ['channel'], bits: [4, 2], groups: [32], headSizes: [128] },
  ],
} as const;

function planOf(generated: number) {
  return planCases({
    ...{ stored: [], realCache: true, capabilities, seed: 1, generated },
    arbitrary: caseArbitrary(capabilities, CASE_SPACE),
  });
}

describe('cases in turn', () => {
  it.each([0, 3, 12, 30])('are those of the plan, each once: %i generated ones', (generated) => {
    const plan = planOf(generated);
    const turned = inTurn(plan);
    const indices = Array.from({ length: plan.length }, (_, i) => i);
    expect(indices.map((i) => turned.at(i).index)).toEqual(indices);
    const hashes = (one: typeof plan) => indices.map((i) => one.at(i).hash);
    expect(hashes(turned).sort()).toEqual(hashes(plan).sort());
    expect(turned).toMatchObject({ length: plan.length, realCache: plan.realCache, generated });
  });

  it('begin with both, and end with the one that there is more of', () => {
    const { realCache } = planOf(0);
    expect(realCache).toBeGreaterThan(5);
    const origins = (generated: number) => {
      const plan = inTurn(planOf(generated));
      return Array.from({ length: plan.length }, (_, i) => plan.at(i).origin);
    };
    expect(origins(realCache).slice(0, 4)).toEqual([
      ...['real-cache', 'generated'],
      ...['real-cache', 'generated'],
    ]);
    expect(new Set(origins(2).slice(4))).toEqual(new Set(['real-cache']));
    expect(new Set(origins(realCache + 3).slice(2 * realCache))).toEqual(new Set(['generated']));
  });
});

const { capabilities: everything } = new ReferenceKernel();
const costs = (pairs: number) => {
  const arbitrary = caseArbitrary(everything, { ...spaceOfPairs(pairs), longTokensMax: 0 });
  return Array.from({ length: 300 }, (_, i) => multiplyAdds(drawAt(arbitrary, 3, i).problem));
};

it('no generated case has more pairs of a token and a query head than are allowed', () => {
  for (const pairs of [64, 1024, PAIRS_MAX]) {
    const most = Math.max(...costs(pairs));
    expect(most, `${pairs} pairs`).toBeLessThanOrEqual(256 * pairs);
    expect(most, `${pairs} pairs`).toBeGreaterThan(128 * pairs);
  }
});
