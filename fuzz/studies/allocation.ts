// allocation.ts - question: for a budget of bits per value, which widths, axis and groups of K and
// V give the smallest error of attention, and what do a rotation and fp16 sink tokens add?
//
// Design: on every layer and head of the real cache, K alone and V alone are quantised in every way
// (1 to 8 bits, K per channel or per token, groups of 16 to 128), with and without a Hadamard
// rotation and the first 16 tokens in fp16: four kinds of handling. Errors of K and of V are nearly
// orthogonal, so that every pair of a K and a V choice is predicted as the root of the sum of
// squares; the pairs on the Pareto front (no other has fewer bits and less error) are then measured
// together, on all layers and heads. The error of a choice is the root mean square of the relative
// Frobenius error over them; bits count scales, zeros and what is kept in fp16.
//
// What would refute it: measured errors on the front that differ from the predicted ones by more
// than a factor of 1.5; a front that is not the same for either half of the layers. What it cannot
// say: that the front of another model is the same.

import { CODE_LM_SOURCES } from './accuracy-source.js';
import type { AccuracyMeasurement, AccuracyTask, AccuracyValue } from './accuracy-task.js';
import type { Part } from './attention-error.js';
import { type CacheVariant, PLAIN } from './cache-variant.js';
import type { Interval, Statistics } from './statistics.js';
import type { PlannedTask } from './study-pool.js';

export const ALLOCATION_SCHEMA = 'kvproof.study.allocation/1';

const TOKENS = 2048;
const SINKS = 16;

export interface Handling {
  readonly name: string;
  readonly rotation: CacheVariant['rotation'];
  readonly sinks: number;
}

export const HANDLINGS: readonly Handling[] = [
  { name: 'plain', rotation: 'none', sinks: 0 },
  { name: 'sinks', rotation: 'none', sinks: SINKS },
  { name: 'hadamard', rotation: 'hadamard', sinks: 0 },
  { name: 'hadamard + sinks', rotation: 'hadamard', sinks: SINKS },
];

/** One way to hold K and V, with what it costs and how far off attention is. */
export interface Allocation {
  readonly handling: string;
  readonly variant: CacheVariant;
  readonly bitsPerValue: number;
  /** Root of the sum of squares of K's and V's own errors. */
  readonly predicted: number;
}

export interface AllocationRow extends Allocation {
  /** Relative Frobenius error of K and V together, root mean square over layers and heads. */
  readonly relFro: number;
  readonly interval: Interval | null;
}

/** Choices for K and V at equal widths and groups: the parts 'k' and 'v' are what is wanted. */
export function singleVariants(quick: boolean): CacheVariant[] {
  const widths = quick ? [1, 2, 3, 4, 6, 8] : [1, 2, 3, 4, 5, 6, 7, 8];
  const groups = quick ? [32, 128] : [16, 32, 64, 128];
  return HANDLINGS.flatMap(({ rotation, sinks }) =>
    widths.flatMap((bits) =>
      groups.flatMap((group) =>
        (['channel', 'token'] as const).map((kAxis): CacheVariant => {
          const widthsAndGroups = { kBits: bits, vBits: bits, group, vGroup: group };
          return { ...PLAIN, ...widthsAndGroups, kAxis, rotation, sinks };
        }),
      ),
    ),
  );
}

export function allocationTasks(
  round: 'single' | 'front',
  variants: readonly CacheVariant[],
  quick: boolean,
): PlannedTask[] {
  const sources = quick ? CODE_LM_SOURCES.filter(({ head }) => head === 0) : CODE_LM_SOURCES;
  return sources.map(({ layer, head }): PlannedTask => {
    const source = { kind: 'code-lm' as const, layer, head, tokens: TOKENS };
    const place = `layer ${layer} head ${head}`;
    const task: AccuracyTask = { study: 'accuracy', source, variants, on: 'format' };
    // The second round depends on the first: its variants are part of the key.
    const of = round === 'single' ? '' : `/${variants.map(variantKey).join(' ')}`;
    return { key: `${round}/${place}${of}`, place, task };
  });
}

/** Pareto fronts of every handling, by predicted error. */
export function predictedFronts(
  tasks: readonly PlannedTask[],
  values: ReadonlyMap<string, unknown>,
): Allocation[] {
  const units = measurements(tasks, values);
  return HANDLINGS.flatMap(({ name, rotation, sinks }) => {
    const own = units[0].filter(
      ({ variant }) => variant.rotation === rotation && variant.sinks === sinks,
    );
    const choices = own.map(({ variant }) => ({
      variant,
      bits: bitsOf(units, variant),
      k: rootMeanSquare(partOf(units, variant, 'k')),
      v: rootMeanSquare(partOf(units, variant, 'v')),
    }));
    const pairs = choices.flatMap((k) =>
      choices
        .filter(({ variant }) => variant.kAxis === 'channel') // V has no axis: each once
        .map((v): Allocation => {
          const { vBits, vGroup } = v.variant;
          return {
            handling: name,
            variant: { ...k.variant, vBits, vGroup },
            bitsPerValue: (k.bits + v.bits) / 2,
            predicted: Math.hypot(k.k, v.v),
          };
        }),
    );
    return paretoFront(pairs);
  });
}

/** No other has as few bits and as little error. Falling error, rising bits. */
export function paretoFront<T extends { bitsPerValue: number; predicted: number }>(
  all: readonly T[],
): T[] {
  const sorted = [...all].sort(
    (a, b) => a.bitsPerValue - b.bitsPerValue || a.predicted - b.predicted,
  );
  const front: T[] = [];
  for (const each of sorted) {
    const best = front.at(-1);
    if (best === undefined || each.predicted < best.predicted) front.push(each);
  }
  return front;
}

export function measuredFronts(
  fronts: readonly Allocation[],
  tasks: readonly PlannedTask[],
  values: ReadonlyMap<string, unknown>,
  { bootstrap }: Statistics,
): AllocationRow[] {
  const units = measurements(tasks, values);
  return fronts.map((allocation) => {
    const errors = partOf(units, allocation.variant, 'both');
    return {
      ...allocation,
      relFro: rootMeanSquare(errors),
      interval: bootstrap(errors.length, (sample) => rootMeanSquare(sample.map((i) => errors[i]))),
    };
  });
}

/** The best row of each handling within a budget of bits per value. */
export function bestWithin(rows: readonly AllocationRow[], budget: number): AllocationRow[] {
  return HANDLINGS.flatMap(({ name }) => {
    const within = rows.filter((r) => r.handling === name && r.bitsPerValue <= budget);
    within.sort((a, b) => a.relFro - b.relFro);
    return within.slice(0, 1);
  });
}

/** Of every layer and head, its measurements in the order of the variants. */
function measurements(
  tasks: readonly PlannedTask[],
  values: ReadonlyMap<string, unknown>,
): (readonly AccuracyMeasurement[])[] {
  return tasks.map(({ key }) => (values.get(key) as AccuracyValue).measured);
}

function variantKey({ kBits, vBits, kAxis, group, vGroup, rotation, sinks }: CacheVariant): string {
  return `${kBits}.${vBits}.${kAxis[0]}.${group}.${vGroup}.${rotation[0]}.${sinks}`;
}

function matching(units: readonly (readonly AccuracyMeasurement[])[], variant: CacheVariant) {
  const wanted = variantKey(variant);
  return units.map((unit) => {
    const found = unit.find((each) => variantKey(each.variant) === wanted);
    if (found === undefined) throw new Error(`no measurement of ${wanted}`);
    return found;
  });
}

function bitsOf(units: readonly (readonly AccuracyMeasurement[])[], variant: CacheVariant): number {
  return matching(units.slice(0, 1), variant)[0].bitsPerValue;
}

function partOf(
  units: readonly (readonly AccuracyMeasurement[])[],
  variant: CacheVariant,
  part: Part,
): number[] {
  return matching(units, variant).map(({ parts }) => {
    const relFro = parts.find((each) => each.part === part)?.error.relFro;
    if (relFro === null || relFro === undefined) throw new Error(`no error of part ${part}`);
    return relFro;
  });
}

function rootMeanSquare(values: readonly number[]): number {
  return Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
}
