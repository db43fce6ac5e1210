// statistics.ts - quantiles and intervals of the studies, by mathjs, which is loaded when a study
// reports (0.3 s).
//
// Intervals are percentile bootstrap: the units (windows, seeds, heads) are drawn again with
// replacement, the statistic is computed anew, and the middle 95% of 2,000 such numbers is the
// interval. It needs no normality, and keeps pairs together when the statistic is a difference over
// the same units. With few units it is too narrow; the number of units stands beside it.

/** [low, high] of 95%. */
export type Interval = readonly [number, number];

const RESAMPLES = 2000;

export interface Statistics {
  /** Quantiles of values at probabilities, linear between order statistics. */
  quantiles(values: readonly number[], at: readonly number[]): number[];
  mean(values: readonly number[]): number;
  /** Interval of a statistic of `units` units; null for fewer than two. */
  bootstrap(units: number, statistic: (sample: readonly number[]) => number): Interval | null;
}

/** seed: of the resampling; the same seed gives the same intervals. */
export async function statistics(seed: number | string): Promise<Statistics> {
  const { mean, quantileSeq } = await import('mathjs');
  const quantiles = (values: readonly number[], at: readonly number[]): number[] => {
    const sorted = Float64Array.from(values).sort();
    return at.map((p) => Number(quantileSeq([...sorted], p, true)));
  };
  return {
    quantiles,
    mean: (values) => Number(mean([...values])),
    bootstrap(units, statistic) {
      if (units < 2) return null;
      const next = integers(seed);
      const found = Array.from({ length: RESAMPLES }, () =>
        statistic(Array.from({ length: units }, () => next() % units)),
      );
      const [low, high] = quantiles(found, [0.025, 0.975]);
      return [low, high];
    },
  };
}

/** Seeded uint32: splitmix32 from a hash (FNV-1a) of the seed's text. */
function integers(seed: number | string): () => number {
  let state = 0x811c9dc5;
  for (const letter of `kvproof study ${seed}`) {
    state = Math.imul(state ^ letter.charCodeAt(0), 0x01000193);
  }
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let z = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  };
}
