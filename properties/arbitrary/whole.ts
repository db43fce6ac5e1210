// Whole and Choice: the two leaf arbitraries of a case. Both shrink a value that this process never
// generated (a stored case), and both try the likely answers before they bisect.
//
// Whole: integers of a range. Shrinking goes towards `origin` through `edges` (sizes where
// behaviour
//   changes: a failure that needs a full tile is found at the tile, not near it), then bisects.
// Choice: values of a table, simplest first. Shrinking tries the simpler ones in order; a value
// that
//   is not in the table counts as the least simple.

import fc from 'fast-check';

export interface WholeRange {
  readonly min: number;
  readonly max: number;
  /** Where shrinking leads; the nearest end of the range unless given. */
  readonly origin?: number;
  readonly edges?: readonly number[];
  /** false: only origin and edges are tried (for seeds, where near is no simpler than far). */
  readonly bisect?: boolean;
  /** Draws a value; uniform unless given. Results are moved into the range. */
  readonly draw?: (random: fc.Random) => number;
}

/** Context of a shrunk value: the nearest candidate towards the origin that did not reproduce. */
interface Refuted {
  readonly refuted: number;
}

const isRefuted = (context: unknown): context is Refuted =>
  typeof context === 'object' && context !== null && 'refuted' in context;

export class Whole extends fc.Arbitrary<number> {
  private readonly range: Required<WholeRange>;

  constructor(range: WholeRange) {
    super();
    const { min, max } = range;
    const draw = (random: fc.Random) => random.nextInt(min, max);
    this.range = { origin: min, edges: [], bisect: true, draw, ...range };
  }

  override generate(random: fc.Random): fc.Value<number> {
    const { min, max, draw } = this.range;
    return new fc.Value(Math.min(Math.max(draw(random), min), max), undefined);
  }

  override canShrinkWithoutContext(value: unknown): value is number {
    const { min, max } = this.range;
    return Number.isInteger(value) && Number(value) >= min && Number(value) <= max;
  }

  override shrink(value: number, context: unknown): fc.Stream<fc.Value<number>> {
    let refuted = isRefuted(context) ? context.refuted : undefined;
    const values: fc.Value<number>[] = [];
    for (const candidate of this.candidates(value, context)) {
      // Nothing lies below the first candidate, the origin: as context it stands for itself.
      values.push(new fc.Value(candidate, { refuted: refuted ?? candidate }));
      refuted = candidate;
    }
    return fc.stream(values[Symbol.iterator]());
  }

  /** From the origin towards the value, the value itself excluded, each once. */
  private candidates(value: number, context: unknown): number[] {
    const { origin, edges, bisect } = this.range;
    const direction = value < origin ? -1 : 1;
    const distance = Math.abs(value - origin);
    const known = isRefuted(context) ? Math.abs(context.refuted - origin) : -1;
    const distances = [0, ...edges.map((edge) => (edge - origin) * direction)];
    if (bisect) {
      const from = Math.max(known, 0);
      for (let gap = (distance - from) / 2; gap >= 0.5; gap /= 2) {
        distances.push(distance - Math.ceil(gap));
      }
    }
    const open = distances.filter((d) => d >= 0 && d > known && d < distance);
    return [...new Set(open)].sort((a, b) => a - b).map((d) => origin + d * direction);
  }
}

export class Choice<T> extends fc.Arbitrary<T> {
  /**
   * table: simplest first; weights: how often each is drawn, null: always the first, without a
   * draw; accepts: what a stored case may hold.
   */
  constructor(
    private readonly table: readonly T[],
    private readonly weights: readonly number[] | null,
    private readonly accepts: (value: unknown) => boolean,
    private readonly equal: (a: T, b: T) => boolean = Object.is,
  ) {
    super();
    if (table.length === 0) throw new RangeError('table: found 0 values, required at least 1');
    if (weights !== null && table.length !== weights.length) {
      throw new RangeError(`weights: found ${weights.length}, required ${table.length}`);
    }
  }

  override generate(random: fc.Random): fc.Value<T> {
    const { table, weights } = this;
    const value = weights === null ? table[0] : weighted(random, table, weights);
    return new fc.Value(value, undefined);
  }

  override canShrinkWithoutContext(value: unknown): value is T {
    return this.accepts(value);
  }

  override shrink(value: T): fc.Stream<fc.Value<T>> {
    const place = this.table.findIndex((other) => this.equal(other, value));
    const simpler = place === -1 ? this.table : this.table.slice(0, place);
    return fc.stream(simpler.map((x) => new fc.Value(x, undefined))[Symbol.iterator]());
  }
}

/** One entry of a table, by weight. */
export function weighted<T>(random: fc.Random, table: readonly T[], weights: readonly number[]): T {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let rest = random.nextInt(0, total - 1);
  for (let i = 0; i < table.length; i++) {
    rest -= weights[i];
    if (rest < 0) return table[i];
  }
  throw new RangeError(`weights: found a total of ${total}, required a positive integer`);
}

/**
 * Generates from one arbitrary and shrinks with another: what a kernel is asked to run is narrow,
 * what a stored case may hold is wide, and a case from elsewhere must still become smaller.
 */
export class Widened<T> extends fc.Arbitrary<T> {
  constructor(
    private readonly narrow: fc.Arbitrary<T>,
    private readonly wide: fc.Arbitrary<T>,
  ) {
    super();
  }

  override generate(random: fc.Random, bias: number | undefined): fc.Value<T> {
    return new fc.Value(this.narrow.generate(random, bias).value, undefined);
  }

  override canShrinkWithoutContext(value: unknown): value is T {
    return this.wide.canShrinkWithoutContext(value);
  }

  override shrink(value: T, context: unknown): fc.Stream<fc.Value<T>> {
    if (context === undefined && !this.wide.canShrinkWithoutContext(value)) return fc.Stream.nil();
    return this.wide.shrink(value, context);
  }
}
