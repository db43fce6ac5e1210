// Of several draws the one is taken that shows most that is new, so that few cases meet every
// scheme in a shape where it counts.

import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { caseArbitrary } from '../../properties/arbitrary/case.js';
import type { Case } from '../../properties/case.js';
import { ReferenceKernel } from '../../properties/reference-kernel.js';
import { Spread } from './spread.js';

const { capabilities } = new ReferenceKernel();
const drawn = fc.sample(caseArbitrary(capabilities), { numRuns: 800, seed: 5 });

it('what was seen is not taken again where there is something else', () => {
  const [first, second] = drawn;
  const spread = new Spread();
  const taken = spread.best([first, second]);
  expect(spread.best([first, second])).toBe(taken === first ? second : first);
  expect(spread.best([first, second])).toBe(first); // of equals
  const known = new Spread();
  known.add(first);
  expect(known.best([first, second])).toBe(second);
});

it('a hundred of eight hundred draws meet more triples of a scheme than any hundred', () => {
  const triples = (cases: readonly Case[]) => {
    const packed = cases.filter(({ problem }) => Math.max(...problem.tokens) >= 128);
    return new Set(
      packed.map(({ scheme: s, problem: p }) => `${s.bits} ${s.kAxis} ${s.group} ${p.headSize}`),
    ).size;
  };
  const spread = new Spread();
  const best = Array.from({ length: 100 }, (_, i) => spread.best(drawn.slice(8 * i, 8 * i + 8)));
  const any = Array.from({ length: 8 }, (_, i) => triples(drawn.slice(100 * i, 100 * i + 100)));
  expect(triples(best)).toBeGreaterThan(Math.max(...any));
});
