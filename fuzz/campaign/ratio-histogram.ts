// ratio-histogram.ts - how close errors come to their bounds: counts by decades of error/bound, ten
// bins each, and the largest with the case that it came from.

/** Below 10^-6 of the bound an error says nothing more. */
const DECADES = 6;
const BINS_PER_DECADE = 10;

export class RatioHistogram {
  /** Bin i counts ratios from 10^(i / 10 - 6) up; the first one also what is smaller. */
  readonly bins = new Array<number>(DECADES * BINS_PER_DECADE + 1).fill(0);
  count = 0;
  largest = 0;
  largestCase = '';

  add(ratio: number, hash: string): void {
    const place = Math.floor((Math.log10(ratio) + DECADES) * BINS_PER_DECADE);
    this.bins[Math.min(Math.max(place, 0), this.bins.length - 1)] += 1;
    this.count += 1;
    if (ratio > this.largest) {
      this.largest = ratio;
      this.largestCase = hash;
    }
  }
}

/** Lower edge of a bin. */
export function binStart(bin: number): number {
  return 10 ** (bin / BINS_PER_DECADE - DECADES);
}
