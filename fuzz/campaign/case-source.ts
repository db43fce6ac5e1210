// case-source.ts - which case of a plan comes next, and which ones are done.
//
// A shard takes every n-th position of the plan, so that the shards of one campaign see the same
// kinds of cases and together exactly the unsplit plan. A position is done when its line is in a
// journal; a position that was handed out and came to nothing (the worker was lost, the time was
// over) is given back and comes again.

/** Positions as bits, in pages that are made when they are needed: 10^8 positions take 13 MB. */
export class IndexSet {
  private readonly pages = new Map<number, Uint8Array>();
  private count = 0;

  get size(): number {
    return this.count;
  }

  has(index: number): boolean {
    const page = this.pages.get(Math.floor(index / PAGE_BITS));
    const bit = index % PAGE_BITS;
    return page !== undefined && (page[bit >>> 3] & (1 << (bit & 7))) !== 0;
  }

  /** false: it was there already. */
  add(index: number): boolean {
    if (this.has(index)) return false;
    const number = Math.floor(index / PAGE_BITS);
    const page = this.pages.get(number) ?? new Uint8Array(PAGE_BITS / 8);
    this.pages.set(number, page);
    const bit = index % PAGE_BITS;
    page[bit >>> 3] |= 1 << (bit & 7);
    this.count += 1;
    return true;
  }
}

/** Small, so that a journal with wild positions in it takes little more memory than disk. */
const PAGE_BITS = 2048;

export interface Shard {
  /** From 1 to count. */
  readonly index: number;
  readonly count: number;
}

export class CaseSource {
  private next: number;
  private readonly open = new Set<number>();
  private returned: number[] = [];

  /** length: of the plan; `done` is what journals already hold, and is only read. */
  constructor(
    private readonly shard: Shard,
    private readonly length: number,
    private readonly done: IndexSet,
  ) {
    this.next = shard.index - 1;
  }

  /** null: nothing is left to hand out. */
  take(): number | null {
    const again = this.returned.pop();
    if (again !== undefined) {
      this.open.add(again);
      return again;
    }
    while (this.next < this.length && this.done.has(this.next)) this.next += this.shard.count;
    if (!(this.next < this.length)) return null;
    const index = this.next;
    this.next += this.shard.count;
    this.open.add(index);
    return index;
  }

  settle(index: number): void {
    this.open.delete(index);
  }

  giveBack(index: number): void {
    this.open.delete(index);
    this.returned.push(index);
  }

  get openCount(): number {
    return this.open.size;
  }

  get isExhausted(): boolean {
    return this.returned.length === 0 && !(this.next < this.length);
  }

  /** Every position of the shard below it is done. */
  get frontier(): number {
    return Math.min(this.next, ...this.open, ...this.returned);
  }
}
