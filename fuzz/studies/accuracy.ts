// accuracy.ts - question: how far is attention over a cache of few bits from attention over the
// true K and V, and which factor decides it?
//
// Design: one KV head at a time, in float64. The truth is attention over the fp16 values; the error
// of the output and of the weights is measured for changed keys alone, changed values alone, both,
// and (section `kernel`) for a kernel's own arithmetic over its own cache. Sections vary bits, axis
// and group; distributions; symmetric and rounding; what is kept in fp16; lengths; formats of other
// systems (accuracy-sections.ts). Sources are every layer and head of a trained model's cache and
// the named distributions, whose seeds are repeats. A table row is the median over repeats with the
// middle 80% (quantiles 0.1 and 0.9) and a 95% bootstrap interval of the median.
//
// What would refute it: an error that does not fall by about 6 dB a bit between 3 and 8 bits on
// normal data; an error of 16 bits that is not 0; parts k and v that explain less of `both` than
// their sum of squares within a factor of two; a kernel part that rivals the cache's at 8 bits.
// What it cannot say: what an error costs a model, which is the question of perplexity.ts.

import type { Section } from './accuracy-sections.js';
import { sourceName, sourceUnit } from './accuracy-source.js';
import type { AccuracyMeasurement, AccuracyTask, AccuracyValue } from './accuracy-task.js';
import type { AttentionError, Part } from './attention-error.js';
import type { CacheVariant } from './cache-variant.js';
import type { Interval, Statistics } from './statistics.js';
import type { PlannedTask } from './study-pool.js';

export const ACCURACY_SCHEMA = 'kvproof.study.accuracy/1';

/** One measurement of one part, flat: a line of the data table. */
export interface AccuracyDatum extends CacheVariant, AttentionError {
  readonly section: string;
  readonly source: string;
  /** The repeat: "layer 2 head 0", "seed 3". */
  readonly unit: string;
  readonly tokens: number;
  readonly bitsPerValue: number;
  readonly part: Part;
}

export const METRICS = ['relFro', 'cosine', 'maxError', 'sqnrDb', 'kl', 'tv', 'top1'] as const;
export type Metric = (typeof METRICS)[number];

export interface Band {
  readonly median: number;
  /** Quantiles 0.1 and 0.9 of the repeats. */
  readonly low: number;
  readonly high: number;
  /** 95% of the median, by bootstrap; null with one repeat. */
  readonly interval: Interval | null;
}

/** Repeats of one source and variant together. null: no repeat has a finite number. */
export type AccuracyRow = Omit<AccuracyDatum, 'unit' | Metric> & {
  readonly repeats: number;
} & Readonly<Record<Metric, Band | null>>;

export function accuracyTasks(sections: readonly Section[]): PlannedTask[] {
  return sections.flatMap(({ name, sources, variants }) =>
    sources.map((source): PlannedTask => {
      const tokens = source.kind === 'files' ? '' : `/${source.tokens}`;
      const place = `${sourceName(source)}/${sourceUnit(source)}${tokens}`;
      const task: AccuracyTask = {
        ...{ study: 'accuracy', source, variants },
        on: name === 'kernel' ? 'kernel' : 'format',
      };
      return { key: `${name}/${place}`, place, task };
    }),
  );
}

export function accuracyData(
  tasks: readonly PlannedTask[],
  values: ReadonlyMap<string, unknown>,
): AccuracyDatum[] {
  return tasks.flatMap(({ key, task }) => {
    if (task.study !== 'accuracy') return [];
    const { measured } = values.get(key) as AccuracyValue;
    return measured.flatMap((each) => dataOf(key.split('/')[0], task, each));
  });
}

function dataOf(
  section: string,
  { source }: AccuracyTask,
  { variant, tokens, bitsPerValue, parts }: AccuracyMeasurement,
): AccuracyDatum[] {
  return parts.map(({ part, error }) => ({
    section,
    source: sourceName(source),
    unit: sourceUnit(source),
    tokens,
    ...variant,
    bitsPerValue,
    part,
    ...error,
  }));
}

/** What no source could be measured with, and why: one line for each reason. */
export function accuracyUnsupported(
  values: ReadonlyMap<string, unknown>,
): { variant: CacheVariant; reason: string }[] {
  const found = new Map<string, { variant: CacheVariant; reason: string }>();
  for (const value of values.values()) {
    for (const each of (value as Partial<AccuracyValue>).unsupported ?? []) {
      found.set(JSON.stringify(each), each);
    }
  }
  return [...found.values()];
}

/** Repeats joined, in the order of the data. */
export function accuracyRows(data: readonly AccuracyDatum[], stats: Statistics): AccuracyRow[] {
  const groups = new Map<string, AccuracyDatum[]>();
  for (const datum of data) {
    const key = groupKey(datum);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [datum]);
    else group.push(datum);
  }
  return [...groups.values()].map((group) => rowOf(group, stats));
}

function groupKey(datum: AccuracyDatum): string {
  const entries = Object.entries(datum).filter(
    ([name]) => name !== 'unit' && !(METRICS as readonly string[]).includes(name),
  );
  return JSON.stringify(entries);
}

function rowOf(group: readonly AccuracyDatum[], stats: Statistics): AccuracyRow {
  const { unit: _unit, ...shared } = group[0];
  const bands = Object.fromEntries(
    METRICS.map((metric) => [metric, bandOf(group, metric, stats)]),
  ) as Record<Metric, Band | null>;
  return { ...shared, ...bands, repeats: group.length };
}

function bandOf(
  group: readonly AccuracyDatum[],
  metric: Metric,
  { quantiles, bootstrap }: Statistics,
): Band | null {
  const values = group.map((datum) => datum[metric]).filter((x): x is number => x !== null);
  if (values.length === 0) return null;
  const [low, median, high] = quantiles(values, [0.1, 0.5, 0.9]);
  const interval = bootstrap(values.length, (sample) => {
    const drawn = sample.map((i) => values[i]).sort((a, b) => a - b);
    const middle = (drawn.length - 1) / 2;
    return (drawn[Math.floor(middle)] + drawn[Math.ceil(middle)]) / 2;
  });
  return { median, low, high, interval };
}
