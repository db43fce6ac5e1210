// Lengths: the token counts of the requests of a case. request-mix.ts draws them.
//
// Not fc.array: that one fixes the length of an array before it looks at the items, and never drops
// the last item, so one idle request would stay beside the one that matters. Here shrinking first
// tries each request alone, then drops halves and single requests, then shortens all requests at
// once, then each by itself.

import fc from 'fast-check';

/** Lengths that all requests are cut to: tiny ones, a window, a record and one more token. */
const CAPS = [0, 1, 2, 8, 127, 128, 129];

/** Contexts of the items, (lengths). */
interface Items {
  readonly items: readonly unknown[];
}

export class Lengths extends fc.Arbitrary<number[]> {
  constructor(
    private readonly length: fc.Arbitrary<number>,
    private readonly draw: (random: fc.Random) => number[],
  ) {
    super();
  }

  override generate(random: fc.Random): fc.Value<number[]> {
    return new fc.Value(this.draw(random), undefined);
  }

  override canShrinkWithoutContext(value: unknown): value is number[] {
    return (
      Array.isArray(value) &&
      value.length > 0 &&
      value.every((item) => this.length.canShrinkWithoutContext(item))
    );
  }

  override shrink(value: number[], context: unknown): fc.Stream<fc.Value<number[]>> {
    return fc.stream(this.candidates(value, context as Items | undefined));
  }

  private *candidates(value: number[], context: Items | undefined): Generator<fc.Value<number[]>> {
    const contexts = context?.items ?? value.map(() => undefined);
    const kept = (places: readonly number[]) =>
      new fc.Value(
        places.map((i) => value[i]),
        { items: places.map((i) => contexts[i]) } satisfies Items,
      );
    const all = value.map((_, i) => i);
    if (all.length > 1) {
      // A few requests alone; of very many the halves below find the one sooner.
      if (all.length <= 8) for (const i of all) yield kept([i]);
      const half = all.length >> 1;
      yield kept(all.slice(0, half));
      yield kept(all.slice(half));
      for (const i of all) yield kept(all.filter((j) => j !== i));
      // What needs many requests seldom needs them long: all of them cut at once.
      const longest = Math.max(...value);
      for (const cap of CAPS.filter((length) => length < longest)) {
        const capped = value.map((length) => Math.min(length, cap));
        yield new fc.Value(capped, { items: all.map(() => undefined) } satisfies Items);
      }
    }
    for (const i of all) {
      for (const smaller of this.length.shrink(value[i], contexts[i])) {
        yield new fc.Value(value.with(i, smaller.value), {
          items: contexts.map((x, j) => (j === i ? smaller.context : x)),
        } satisfies Items);
      }
    }
  }
}
