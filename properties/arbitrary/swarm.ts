// Swarm: one draw's choice of features. Tests that draw everything at the same odds always come out
// alike: some of each feature, hardly ever much of one and none of another. So for three draws in
// four every table of weights loses about half of its entries, and some of the rest weigh more
// (Groce, Zhang, Eide, Chen, Regehr, "Swarm testing", ISSTA 2012). Over many draws everything
// occurs.

import type fc from 'fast-check';

/** Weights for this draw, in the order of the table; never all zero. */
export type Thin = (weights: readonly number[]) => readonly number[];

export const wholeSwarm: Thin = (weights) => weights;

export function drawSwarm(random: fc.Random): Thin {
  if (random.nextInt(0, 3) === 0) return wholeSwarm;
  return (weights) => {
    const kept = weights.map((weight) => weight * [0, 0, 1, 4][random.nextInt(0, 3)]);
    return kept.some((weight) => weight > 0) ? kept : weights;
  };
}
