// optionsArbitrary: softmax scale, splits, page tables, appended tokens and strides.
//
// Inside, a record in which everything has a value, mapped to the options that a case stores and
// back, so that stored options shrink: pages to none, appended tokens and padding to 0. What a
// kernel does not declare is never drawn, and takes nothing from the random numbers, so that a
// kernel of few words keeps its cases.

import fc from 'fast-check';
import { type CaseOptions, PAGE_ORDERS, type PageOrder } from '../case.js';
import type { Capabilities } from '../kernel.js';
import { LIMITS } from '../parse-case.js';
import { SEED_MAX } from '../recipe.js';
import { type Thin, wholeSwarm } from './swarm.js';
import { Choice, Whole, weighted } from './whole.js';

/** What may be drawn. */
export type OptionSpace = Pick<Capabilities, 'paged' | 'append' | 'strided'>;

/**
 * 1/sqrt(head size) first, then 1, then scales that flatten, sharpen or overflow a careless kernel,
 * and those that turn the order of the scores or leave none.
 */
const SOFTMAX_SCALES = [
  ...[1 / Math.sqrt(128), 1, 0.5, 0.125, 2 ** -10, 4, 64, 1024, 0.3],
  ...[-1 / Math.sqrt(128), -1, -64, 0],
].map(Math.fround);
const SOFTMAX_WEIGHTS = [10, 4, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1];

/** 0: the kernel chooses; then few, many, and more than there are records. */
const SPLITS = [0, 1, 2, 3, 4, 7, 8, 16, 33, 129];
const SPLIT_WEIGHTS = [8, 4, 4, 3, 2, 2, 1, 1, 1, 1];

type Layout = 'in a row' | PageOrder;
const LAYOUTS: readonly Layout[] = ['in a row', ...PAGE_ORDERS];
const LAYOUT_WEIGHTS = [3, 1, 3];
const SPARES = [0, 1, 2, 7];
const SPARE_WEIGHTS = [3, 2, 1, 1];
/** None, some, and as many as there are. */
const SHARED = [0, 1, 2, 4, 4096];
const SHARED_WEIGHTS = [5, 2, 1, 1, 2];
/** Steps around a record, and a few; related.ts draws those that fill one. */
const APPENDED = [0, 1, 2, 17, 127, 128, 129, 200];
const APPENDED_WEIGHTS = [8, 2, 1, 1, 1, 1, 1, 1];
const PADDINGS = [0, 8, 16, 24, 64];
const PADDING_WEIGHTS = [5, 2, 1, 1, 1];

interface Fields {
  readonly softmaxScale: number;
  readonly splits: number;
  readonly layout: Layout;
  readonly seed: number;
  readonly spare: number;
  readonly shared: number;
  readonly appended: number;
  /** In units of 8 elements. */
  readonly padding: number;
}

const plain = { noNullPrototype: true } as const;

/** Whole numbers from 0 to max that are drawn from a table; 0, without a draw, if not `drawn`. */
function drawnFrom(
  drawn: boolean | undefined,
  table: readonly number[],
  weights: readonly number[],
  max: number,
): Whole {
  const draw = (random: fc.Random) => (drawn ? weighted(random, table, weights) : 0);
  return new Whole({ min: 0, max, edges: table, draw });
}

export function optionsArbitrary(
  space: OptionSpace,
  thin: Thin = wholeSwarm,
): fc.Arbitrary<CaseOptions> {
  const { paged, append, strided } = space;
  const isScale = (value: unknown) => typeof value === 'number' && Number.isFinite(value);
  const fields: fc.Arbitrary<Fields> = fc.record(
    {
      softmaxScale: new Choice(SOFTMAX_SCALES, thin(SOFTMAX_WEIGHTS), isScale),
      splits: drawnFrom(true, SPLITS, thin(SPLIT_WEIGHTS), LIMITS.splits),
      layout: paged
        ? new Choice(LAYOUTS, thin(LAYOUT_WEIGHTS), isLayout)
        : new Choice(LAYOUTS, null, isLayout),
      seed: new Whole({
        ...{ min: 0, max: SEED_MAX, edges: [1, 2, 3], bisect: false },
        draw: (random) => (paged ? random.nextInt(0, SEED_MAX) : 0),
      }),
      spare: drawnFrom(paged, SPARES, SPARE_WEIGHTS, LIMITS.sparePages),
      shared: drawnFrom(paged, SHARED, SHARED_WEIGHTS, LIMITS.sharedRecords),
      appended: drawnFrom(append, APPENDED, APPENDED_WEIGHTS, LIMITS.appended),
      padding: drawnFrom(
        strided,
        PADDINGS.map((padding) => padding / 8),
        PADDING_WEIGHTS,
        LIMITS.inputPadding / 8,
      ),
    },
    plain,
  );
  return fields.map(optionsOf, fieldsOf);
}

const isLayout = (value: unknown): boolean => LAYOUTS.some((layout) => layout === value);

function optionsOf(x: Fields): CaseOptions {
  const { softmaxScale, splits, layout, seed, spare, shared, appended, padding } = x;
  const pages =
    layout === 'in a row' ? undefined : { order: layout, seed, spare, sharedRecords: shared };
  return {
    ...{ softmaxScale, splits },
    ...(pages === undefined ? {} : { pages }),
    ...(appended === 0 ? {} : { appended }),
    ...(padding === 0 ? {} : { inputPadding: 8 * padding }),
  };
}

/** The inverse of optionsOf, with 0 for the fields of pages that a case lacks. */
function fieldsOf(value: unknown): Fields {
  const { softmaxScale, splits, pages, appended = 0, inputPadding = 0 } = value as CaseOptions;
  return {
    ...{ softmaxScale, splits },
    layout: pages?.order ?? 'in a row',
    seed: pages?.seed ?? 0,
    spare: pages?.spare ?? 0,
    shared: pages?.sharedRecords ?? 0,
    ...{ appended, padding: inputPadding / 8 },
  };
}
