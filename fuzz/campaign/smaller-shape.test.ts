// Whether shrinking finds a much smaller case that fails with other values only.
import { expect, it } from 'vitest';
import { anyCase } from '../../properties/arbitrary/case.js';
import type { Case } from '../../properties/case.js';
import type { DrawnRecipe } from '../../properties/recipe.js';
import { shrinkCase } from './shrink.js';
import { smallerShapes } from './smaller-shape.js';

const drawn = (seed: number): DrawnRecipe => {
  return { distribution: 'normal', seed, scale: 0, offset: 0 };
};

const large: Case = {
  schema: 'kvproof.case/1',
  problem: { tokens: [300, 5], queryHeads: 4, kvHeads: 2, headSize: 64 },
  scheme: { format: 'bitdecoding', bits: 4, group: 64, kAxis: 'channel' },
  tensors: { q: drawn(1), k: drawn(2), v: drawn(3) },
  options: {
    softmaxScale: 0.125,
    splits: 1,
    pages: { order: 'shuffled', seed: 1, spare: 1, sharedRecords: 1 },
  },
};

const seedOf = (c: Case) => (c.tensors.k as DrawnRecipe).seed;

it('offers each length with several seeds, smallest first, and nothing for a small case', () => {
  const shapes = [...smallerShapes(large)];
  const lengths = shapes.map(({ problem }) => problem.tokens);
  expect([...new Set(lengths.flat())]).toEqual([1, 44, 128, 129, 300]);
  expect(lengths.every(({ length }) => length === 1)).toBe(true);
  expect(new Set(shapes.map(seedOf)).size).toBe(6);
  expect(shapes.every(({ problem }) => problem.queryHeads === 2)).toBe(true);
  expect(shapes.every(({ options }) => options.pages?.sharedRecords === 0)).toBe(true);
  expect([...smallerShapes(shapes[0])]).toEqual([]);
  const { q, v } = large.tensors;
  const literal = { distribution: 'literal', words: [] } as unknown as DrawnRecipe;
  expect([...smallerShapes({ ...large, tensors: { q, k: literal, v } })]).toEqual([]);
});

it('goes on from a smaller shape that fails', async () => {
  // Two requests are needed with these values, and one with others: no single step leads there.
  const fails = (c: Case) => {
    const { tokens } = c.problem;
    if (tokens.length === 2) return tokens[0] >= 200 && seedOf(c) === 2;
    return tokens.length === 1 && tokens[0] >= 100 && seedOf(c) !== 2;
  };
  const failure = { kind: 'fail', signature: 'x/y', message: 'z' } as const;
  const { case: small, smallest } = await shrinkCase(large, failure, {
    arbitrary: anyCase,
    attempts: [async (c) => (fails(c) ? failure : null)],
    hints: [],
    isOver: () => false,
    triesMax: 2000,
  });
  expect(smallest).toBe(true);
  expect(small.problem.tokens).toEqual([100]);
  expect(small.problem.kvHeads).toBe(1);
});
