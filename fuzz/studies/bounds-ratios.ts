// bounds-ratios.ts - how close the errors of a kernel come to their bounds, by distribution of its
// inputs: error/bound of every output element for L1 and for L2, and how many values L2 admits.
//
// Error and bound are of the stored value: L1's outputBound; for L2 half of the range and half an
// ulp of the store, around the middle of the range. Every case is one of the kernel's formats, in
// turn, at one of the lengths.
//
// Runs in a worker process only: a kernel can hang or end its process.

import { CASE_SCHEMA, type Case } from '../../properties/case.js';
import type { Kernel } from '../../properties/kernel.js';
import { materialize, noSource } from '../../properties/materialize.js';
import type { Distribution } from '../../properties/recipe.js';
import { anyArithmetic } from '../../reference/arithmetic.js';
import { admitsOutput, type BoundResult, boundL1 } from '../../reference/bound.js';
import { boundL2, inRange, type OutputRange } from '../../reference/bound-l2.js';
import { readCache } from '../../reference/cache.js';
import { elementRound, elementValues, exponentOf } from '../../reference/format.js';
import { StudyFailure } from './study-messages.js';

export interface RatioTask {
  readonly study: 'bounds';
  readonly part: 'ratios';
  readonly distribution: Distribution;
  /** One case each; requests of a case are equally long. */
  readonly lengths: readonly number[];
  /** Rows of a case, at least. */
  readonly rows: number;
  readonly seed: number;
}

/** Of error/bound. */
export interface Spread {
  readonly median: number;
  readonly p99: number;
  readonly max: number;
}

export interface Ratios {
  readonly distribution: Distribution;
  readonly rows: number;
  /** Rows without a bound: an operand that is no number, or a range that f32 leaves. */
  readonly guarded: number;
  readonly elements: number;
  readonly l1: Spread;
  /** null: the kernel declares no schedule. */
  readonly l2: Spread | null;
  readonly violationsL1: number;
  readonly violationsL2: number;
  /** Share of elements of which L2 admits one value. */
  readonly single: number;
  /** Median over the elements of the half-width, relative to the rms of all outputs of a case. */
  readonly toleranceL1: number;
  readonly toleranceL2: number;
}

/** Formats that are measured, in turn. */
const FORMATS = [
  { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 },
  { format: 'bitdecoding', kAxis: 'channel', bits: 2, group: 32 },
  { format: 'bitdecoding', kAxis: 'token', bits: 4, group: 64 },
  { format: 'bitdecoding', kAxis: 'channel', bits: 8, group: 64 },
  { format: 'fp16', kAxis: 'channel', bits: 16, group: 128 },
  { format: 'bitdecoding', kAxis: 'token', bits: 2, group: 128 },
] as const;

function caseOf(task: RatioTask, index: number): Case {
  const tokens = task.lengths[index];
  const requests = Math.max(1, Math.floor(task.rows / 64));
  const recipe = (seed: number) => ({
    ...{ distribution: task.distribution, seed: (task.seed + 16 * index + seed) >>> 0 },
    ...{ scale: 0, offset: 0 },
  });
  return {
    schema: CASE_SCHEMA,
    problem: {
      tokens: Array.from({ length: requests }, () => tokens),
      queryHeads: Math.min(64, task.rows),
      kvHeads: Math.min(8, task.rows),
      headSize: 128,
    },
    scheme: FORMATS[index % FORMATS.length],
    tensors: { q: recipe(1), k: recipe(2), v: recipe(3) },
    options: { softmaxScale: Math.fround(1 / Math.sqrt(128)), splits: 0 },
  };
}

/** Counts by 200 bins a decade of ratios from 10^-8: what quantiles of 10^8 numbers need. */
class Histogram {
  private readonly bins = new Float64Array(1601);
  private count = 0;
  private max = 0;

  add(ratio: number): void {
    const place = Math.floor((Math.log10(ratio) + 8) * 200);
    this.bins[Math.min(Math.max(place, 0), 1600)] += 1;
    this.count += 1;
    if (!(ratio <= this.max)) this.max = ratio;
  }

  private quantile(share: number): number {
    let left = share * this.count;
    for (let i = 0; i < this.bins.length; i++) {
      left -= this.bins[i];
      if (left <= 0) return i === 0 ? 0 : Math.min(10 ** ((i + 0.5) / 200 - 8), this.max);
    }
    return this.max;
  }

  spread(): Spread {
    return { median: this.quantile(0.5), p99: this.quantile(0.99), max: this.max };
  }
}

class Counts {
  rows = 0;
  guarded = 0;
  elements = 0;
  single = 0;
  violationsL1 = 0;
  violationsL2 = 0;
  readonly l1 = new Histogram();
  readonly l2 = new Histogram();
  readonly toleranceL1 = new Histogram();
  readonly toleranceL2 = new Histogram();

  /** The elements of one run. */
  add(output: Uint16Array, l1: BoundResult, range: OutputRange | null): void {
    const size = output.length / l1.lse.length;
    const values = elementValues(l1.type);
    const finite = l1.output.filter(Number.isFinite);
    const rms = Math.sqrt(finite.reduce((sum, x) => sum + x * x, 0) / Math.max(1, finite.length));
    this.rows += l1.lse.length;
    for (const g of l1.guarded) this.guarded += g === 0 ? 0 : 1;
    for (let i = 0; i < output.length; i++) {
      if (l1.guarded[Math.floor(i / size)] !== 0) continue;
      const value = values[output[i]];
      this.elements++;
      if (!admitsOutput(l1, i, value)) this.violationsL1++;
      this.l1.add(ratio(value, l1.output[i], l1.outputBound[i]));
      if (rms > 0) this.toleranceL1.add(l1.outputRadius[i] / rms);
      if (range !== null) this.addRange(range, i, value, rms);
    }
  }

  private addRange(range: OutputRange, i: number, value: number, rms: number): void {
    const [low, high] = [range.low[i], range.high[i]];
    const [middle, half] = [(low + high) / 2, (high - low) / 2];
    if (!inRange(range, i, value)) this.violationsL2++;
    const least = range.type === 'bf16' ? -126 : -14;
    const ulp = 2 ** (Math.max(exponentOf(value), least) - (range.type === 'bf16' ? 7 : 10));
    this.l2.add(ratio(value, middle, half + ulp / 2));
    if (rms > 0) this.toleranceL2.add(half / rms);
    if (elementRound(range.type, low) === elementRound(range.type, high)) this.single++;
  }
}

function ratio(value: number, right: number, bound: number): number {
  return value === right ? 0 : Math.abs(value - right) / bound;
}

export function measureRatios(kernel: Kernel, task: RatioTask): Ratios {
  const counts = new Counts();
  const { arithmetic } = kernel.capabilities;
  let ranged = true;
  for (let index = 0; index < task.lengths.length; index++) {
    const c = caseOf(task, index);
    if (kernel.supports(c) !== null) continue;
    const made = materialize(c, noSource);
    if (made.kind === 'error') throw new StudyFailure(made.message, 3);
    const ran = kernel.run(c, made.inputs, { poison: 0xff });
    if (ran.kind !== 'ran') throw new StudyFailure(`${ran.kind}: ${ran.reason}`, 3);
    const { problem, scheme, options } = c;
    const { q } = made.inputs;
    const heads = readCache(problem, scheme, ran.cache, ran.kResidual, ran.vResidual);
    const { softmaxScale } = options;
    const l1 = boundL1(problem, softmaxScale, q, heads, arithmetic ?? anyArithmetic);
    const range =
      arithmetic === null || !ran.splits
        ? null
        : boundL2(problem, softmaxScale, q, heads, arithmetic, ran.splits, l1);
    ranged &&= range !== null;
    counts.add(ran.output, l1, range);
  }
  const { rows, guarded, elements, violationsL1, violationsL2 } = counts;
  return {
    distribution: task.distribution,
    ...{ rows, guarded, elements, violationsL1, violationsL2 },
    l1: counts.l1.spread(),
    l2: ranged ? counts.l2.spread() : null,
    single: counts.single / Math.max(1, elements),
    toleranceL1: counts.toleranceL1.spread().median,
    toleranceL2: counts.toleranceL2.spread().median,
  };
}
