// Coverage cells: the part of the domain that a case lies in, as text, so that a campaign can count
// what it has reached and name what it has not. A cell is
//   bits x group x axis x head size x ratio class x length class x tensor:distribution
// e.g. "4/32/channel/128/ratio 2-7/records and window/k:grid", and, for what a kernel may have
// beyond its formats, bits x axis x feature, e.g. "4/channel/query tokens 2-7". A case with
// requests of several length classes lies in several cells, and in one for K and one for V each.
// Pure: cells depend on the case alone; which cells exist depends on what a kernel declares.

import { elementType, queryTokenCount } from '../reference/problem.js';
import { recordTokens } from '../reference/scheme.js';
import type { Case } from './case.js';
import type { Capabilities } from './kernel.js';
import { DISTRIBUTIONS, isNonFinite } from './recipe.js';

/** Length classes, shortest first; a record is packed, the rest of a request stays in fp16. */
export const LENGTH_CLASSES = [
  'empty',
  'one token',
  'window',
  'one record',
  'record and window',
  'records',
  'records and window',
] as const;

export type LengthClass = (typeof LENGTH_CLASSES)[number];

export function lengthClass(tokens: number): LengthClass {
  if (tokens === 0) return 'empty';
  if (tokens === 1) return 'one token';
  if (tokens < recordTokens) return 'window';
  if (tokens === recordTokens) return 'one record';
  if (tokens < 2 * recordTokens) return 'record and window';
  return tokens % recordTokens === 0 ? 'records' : 'records and window';
}

/** Classes of query heads per KV head; a query tile has 8 rows. */
export const RATIO_CLASSES = ['1', '2-7', '8', '9-16', '17 and more'] as const;

export type RatioClass = (typeof RATIO_CLASSES)[number];

const RATIO_FIRST = [1, 2, 8, 9, 17];

export function ratioClass(ratio: number): RatioClass {
  const place = RATIO_FIRST.findLastIndex((first) => first <= ratio);
  return RATIO_CLASSES[Math.max(place, 0)];
}

interface Cell {
  readonly bits: number;
  readonly group: number;
  readonly kAxis: string;
  readonly headSize: number;
  readonly ratio: RatioClass;
  readonly length: LengthClass;
  readonly tensor: 'k' | 'v';
  readonly distribution: string;
}

function cellName(x: Cell): string {
  const scheme = `${x.bits}/${x.group}/${x.kAxis}/${x.headSize}`;
  return `${scheme}/ratio ${x.ratio}/${x.length}/${x.tensor}:${x.distribution}`;
}

/** Features of a case beyond its format; only what a kernel has to declare. */
function featuresOf({ problem, options }: Case): string[] {
  const n = queryTokenCount(problem);
  const { pages, appended = 0, inputPadding = 0 } = options;
  const features: string[] = [];
  if (elementType(problem) === 'bf16') features.push('bf16');
  if (n > 1) features.push(n === 8 ? 'query tokens 8' : 'query tokens 2-7');
  if (pages !== undefined) features.push(`pages ${pages.order}`);
  if ((pages?.sharedRecords ?? 0) > 0) features.push('pages shared');
  if (appended > 0) features.push(appended < recordTokens ? 'appended few' : 'appended a record');
  if (inputPadding > 0) features.push('rows apart');
  return features;
}

/** Features that a declaration has. */
function declaredFeatures(c: Capabilities): string[] {
  const { queryTokensMax = 1, formats } = c;
  const features: string[] = [];
  if (formats.some(({ types }) => types?.includes('bf16'))) features.push('bf16');
  if (queryTokensMax > 1) features.push('query tokens 2-7');
  if (queryTokensMax >= 8) features.push('query tokens 8');
  if (c.paged) features.push('pages reversed', 'pages shuffled', 'pages shared');
  if (c.append) features.push('appended few', 'appended a record');
  if (c.strided) features.push('rows apart');
  return features;
}

/** The cells of a case, each once. */
export function coverageCells(c: Case): string[] {
  const { problem, scheme, tensors } = c;
  const { bits, group, kAxis } = scheme;
  const { headSize, queryHeads, kvHeads } = problem;
  const ratio = ratioClass(queryHeads / kvHeads);
  const lengths = [...new Set(problem.tokens.map(lengthClass))];
  return lengths.flatMap((length) =>
    (['k', 'v'] as const).map((tensor) => {
      const { distribution } = tensors[tensor];
      return cellName({ bits, group, kAxis, headSize, ratio, length, tensor, distribution });
    }),
  );
}

/** Cells of what a case has beyond its format, each once. */
export function featureCells(c: Case): string[] {
  const { bits, kAxis } = c.scheme;
  return featuresOf(c).map((feature) => `${bits}/${kAxis}/${feature}`);
}

/** Everything that a case covers: its cells, then its features. */
export function coverageOf(c: Case): string[] {
  return [...coverageCells(c), ...featureCells(c)];
}

export interface CellSpace {
  readonly tokensMax: number;
  /** Slices of the real cache and non-finite numbers may occur. */
  readonly codeLm: boolean;
  readonly nonFinite: boolean;
}

/** Every cell that a kernel with these capabilities has, for cases within `space`. */
export function allCoverageCells(capabilities: Capabilities, space: CellSpace): string[] {
  const tokensMax = Math.min(space.tokensMax, capabilities.tokensMax);
  const lengths = LENGTH_CLASSES.filter((_, i) => {
    return (
      [0, 1, 2, recordTokens, recordTokens + 1, 2 * recordTokens, 2 * recordTokens + 1][i] <=
      tokensMax
    );
  });
  const ratios = RATIO_CLASSES.filter((_, i) => RATIO_FIRST[i] <= capabilities.headsPerKvMax);
  const distributions: string[] = DISTRIBUTIONS.filter(
    (name) => !isNonFinite(name) || space.nonFinite,
  );
  if (space.codeLm) distributions.push('code-lm');
  const cells: string[] = [];
  for (const format of capabilities.formats) {
    const { bits, groups, kAxis, headSizes } = format;
    for (const b of bits) {
      for (const group of groups) {
        for (const axis of kAxis) {
          for (const headSize of headSizes) {
            const scheme = { bits: b, group, kAxis: axis, headSize };
            cells.push(...cellsOfScheme(scheme, ratios, lengths, distributions));
          }
        }
      }
    }
  }
  return cells;
}

/** Every feature cell that a kernel with these capabilities has. */
export function allFeatureCells(capabilities: Capabilities): string[] {
  const features = declaredFeatures(capabilities);
  const cells = capabilities.formats.flatMap(({ bits, kAxis }) =>
    bits.flatMap((b) =>
      kAxis.flatMap((axis) => features.map((feature) => `${b}/${axis}/${feature}`)),
    ),
  );
  return [...new Set(cells)];
}

function cellsOfScheme(
  scheme: Pick<Cell, 'bits' | 'group' | 'kAxis' | 'headSize'>,
  ratios: readonly RatioClass[],
  lengths: readonly LengthClass[],
  distributions: readonly string[],
): string[] {
  // Some hundred thousand: the name of a cell ends with its distribution.
  return ratios.flatMap((ratio) =>
    lengths.flatMap((length) =>
      (['k', 'v'] as const).flatMap((tensor) => {
        const place = cellName({ ...scheme, ratio, length, tensor, distribution: '' });
        return distributions.map((distribution) => place + distribution);
      }),
    ),
  );
}
