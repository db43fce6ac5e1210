// statistics.ts - what a row says about its runs.

export interface Quantiles {
  readonly median: number;
  readonly p10: number;
  readonly p90: number;
}

/** By linear interpolation between the sorted values. */
export function quantile(sorted: readonly number[], q: number): number {
  const place = (sorted.length - 1) * q;
  const low = Math.floor(place);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (place - low) * (sorted[high] - sorted[low]);
}

export function quantiles(values: Iterable<number>): Quantiles {
  const sorted = [...values].sort((a, b) => a - b);
  return { median: quantile(sorted, 0.5), p10: quantile(sorted, 0.1), p90: quantile(sorted, 0.9) };
}
