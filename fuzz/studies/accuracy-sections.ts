// accuracy-sections.ts - which factors are varied together: the sections of the accuracy study.
// Each varies few factors on all of its sources and keeps the others at PLAIN (cache-variant.ts).

import { DISTRIBUTIONS } from '../../properties/recipe.js';
import { formats } from '../../reference/formats/index.js';
import { type AccuracySource, CODE_LM_SOURCES } from './accuracy-source.js';
import { type CacheVariant, PLAIN } from './cache-variant.js';
import { type Axis, ROUNDINGS } from './quantizer.js';

export const SECTIONS = [
  'bits',
  'distributions',
  'rules',
  'kept',
  'lengths',
  'formats',
  'kernel',
] as const;
export type SectionName = (typeof SECTIONS)[number];

export interface Section {
  readonly name: SectionName;
  readonly sources: readonly AccuracySource[];
  readonly variants: readonly CacheVariant[];
}

export interface Extent {
  readonly quick: boolean;
  /** Repeats of every drawn source. */
  readonly seeds: number;
  /** Of the user's files instead of all sources of our own; null: none. */
  readonly own: readonly AccuracySource[] | null;
}

const AXES: readonly Axis[] = ['channel', 'token'];
/** Tokens of the real cache in all sections but `lengths`. */
const TOKENS = 2048;
const DRAWN_TOKENS = 1024;
/** The most that --quick draws. */
const QUICK_TOKENS_MAX = 8192;
const LENGTHS = [128, 512, 2048, 8192, 32768, 131072];
/** What the lengths are varied on: no outliers, outliers by channel, by token, in one token. */
const LENGTH_SOURCES = ['normal', 'outlier-channels', 'heavy-tail', 'sink'] as const;

export function sectionsOf(names: readonly SectionName[], extent: Extent): Section[] {
  const all: Record<SectionName, () => Section> = {
    bits: () => ({
      name: 'bits',
      sources: extent.own ?? stored(extent),
      variants: bitVariants(extent.quick),
    }),
    distributions: () => ({
      name: 'distributions',
      sources: DISTRIBUTIONS.flatMap((distribution) => drawn(distribution, DRAWN_TOKENS, extent)),
      variants: product([2, 3, 4, 8], AXES).map(([bits, kAxis]) => ofBits(bits, { kAxis })),
    }),
    rules: () => ({
      name: 'rules',
      sources: extent.own ?? stored(extent),
      variants: product(extent.quick ? [2, 4] : [2, 3, 4, 8], [false, true]).flatMap(
        ([bits, symmetric]) => ROUNDINGS.map((rounding) => ofBits(bits, { symmetric, rounding })),
      ),
    }),
    kept: () => ({
      name: 'kept',
      sources: extent.own ?? stored(extent),
      variants: product([2, 4], [0, 1, 4, 16, 64]).flatMap(([bits, sinks]) =>
        (extent.quick ? [0, 128] : [0, 32, 128, 256]).map((residual) =>
          ofBits(bits, { sinks, residual }),
        ),
      ),
    }),
    lengths: () => ({
      name: 'lengths',
      sources: LENGTHS.filter((n) => !extent.quick || n <= QUICK_TOKENS_MAX).flatMap((tokens) =>
        LENGTH_SOURCES.flatMap((distribution) => drawn(distribution, tokens, extent)),
      ),
      variants: product([2, 4, 8], AXES).map(([bits, kAxis]) => ofBits(bits, { kAxis })),
    }),
    formats: () => ({
      name: 'formats',
      sources: extent.own ?? stored(extent),
      variants: formatVariants(),
    }),
    kernel: () => ({
      name: 'kernel',
      sources: extent.own ?? stored(extent),
      variants: product([2, 4, 8], AXES).flatMap(([bits, kAxis]) =>
        [128, 64, 32].map((group) => ofBits(bits, { kAxis, group })),
      ),
    }),
  };
  return names
    .map((name) => all[name]())
    .filter(({ name }) => extent.own === null || !['distributions', 'lengths'].includes(name));
}

function ofBits(bits: number, change: Partial<CacheVariant>): CacheVariant {
  const group = change.group ?? PLAIN.group;
  return { ...PLAIN, kBits: bits, vBits: bits, group, vGroup: group, ...change };
}

function product<A, B>(as: readonly A[], bs: readonly B[]): [A, B][] {
  return as.flatMap((a) => bs.map((b): [A, B] => [a, b]));
}

function stored({ quick }: Extent): AccuracySource[] {
  const chosen = quick ? CODE_LM_SOURCES.filter(({ head }) => head === 0) : CODE_LM_SOURCES;
  return chosen.map((source) => ({ kind: 'code-lm', ...source, tokens: TOKENS }));
}

function drawn(
  distribution: (typeof DISTRIBUTIONS)[number],
  tokens: number,
  { seeds }: Extent,
): AccuracySource[] {
  return Array.from({ length: seeds }, (_, i) => ({
    ...{ kind: 'drawn' as const, distribution, tokens },
    seed: i + 1,
  }));
}

function bitVariants(quick: boolean): CacheVariant[] {
  const widths = quick ? [1, 2, 3, 4, 6, 8] : [1, 2, 3, 4, 5, 6, 7, 8];
  const groups = quick ? [32, 128] : [16, 32, 64, 128];
  const all = product(widths, AXES).flatMap(([bits, kAxis]) =>
    groups.map((group) => ofBits(bits, { kAxis, group })),
  );
  return [...all, ofBits(16, {})];
}

/** Every format at every width and group that it has. */
function formatVariants(): CacheVariant[] {
  return formats.flatMap((format) =>
    product(format.bits, format.groups).map(([bits, group]) => ({
      ...ofBits(bits, { kAxis: format.axisOf.k }),
      ...{ format: format.format, rounding: 'own' as const },
      ...{ group: group === 'all' ? 0 : group, vGroup: group === 'all' ? 0 : group },
    })),
  );
}
