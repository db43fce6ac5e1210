// FlawedKernel: kernels with a flaw that the case itself need not show, for the tests of relations.
// Most flaws are smaller than any bound (one unit in the last place) or appear only in other
// surroundings: another place in the batch, another schedule, another neighbour. Each names the
// property that exists to see it. What is wrong on every case is in spoiled-kernel.ts.

import { plainRows } from '../reference/attention-rows.js';
import { attendWith } from '../reference/attention-with.js';
import { allRows, keyRows, readCache, valueRows } from '../reference/cache.js';
import { elementValues, elementWords, f64FromF16 } from '../reference/format.js';
import { recordBytes } from '../reference/pack.js';
import { pageLookup } from '../reference/page-table.js';
import { elementType, firstTokens } from '../reference/problem.js';
import type { RareKind } from './arbitrary/rare.js';
import type { Case } from './case.js';
import type { Capabilities, Inputs, Kernel, Ran } from './kernel.js';
import { hasSharedTokens, pageTable, sharedTokens } from './pages.js';
import { isNonFinite } from './recipe.js';
import { rowOf, rowPlaces } from './rows.js';
import { attendTampered, ChangedKernel, type Spoil } from './spoiled-kernel.js';

export interface PlantedFlaw {
  readonly story: string;
  readonly property: string;
  /** A fresh flaw; some remember what ran before. */
  readonly plant: () => Spoil;
  /** Cases on which the property must see it. */
  readonly shows: (c: Case) => boolean;
  /** Smallest share of those cases; below 1 where the property draws what it does. */
  readonly share: number;
  readonly capabilities?: Partial<Capabilities>;
  /** Shapes that independent draws hardly ever hit. */
  readonly kind?: RareKind;
}

const NAN = 0x7fff; // of either type

const hasTokens = ({ problem }: Case) => problem.tokens.some((n) => n > 0);
const holdsNoNan = ({ tensors }: Case) =>
  [tensors.q, tensors.k, tensors.v].every(({ distribution }) => !isNonFinite(distribution));
const isPinned = ({ options }: Case) => options.splits !== 0;
const isMany = ({ problem }: Case) => (problem.queryTokens ?? 1) > 1;
const isLively = ({ tensors }: Case) =>
  [tensors.q, tensors.k, tensors.v].every(({ distribution }) => distribution === 'normal');

/** Output with one unit in the last place more or less in the rows that are chosen. */
function nudged(c: Case, ran: Ran, chosen: (request: number, head: number) => boolean): Ran {
  const places = rowPlaces(c.problem);
  const output = ran.output.map((bits, i) => {
    const { request, queryHead } = places[Math.floor(i / c.problem.headSize)];
    return chosen(request, queryHead) ? bits ^ 1 : bits;
  });
  return { ...ran, output };
}

const withNan = (ran: Ran): Ran => ({ ...ran, output: ran.output.map(() => NAN) });

const withScale = (c: Case, softmaxScale: number): Case => ({
  ...c,
  options: { ...c.options, softmaxScale },
});

/** Whether the last token of a request has the largest score of some query head. */
function lastTokenWins(c: Case, { q, k }: Inputs): boolean {
  const { tokens, queryHeads, kvHeads, headSize } = c.problem;
  const ratio = queryHeads / kvHeads;
  const values = elementValues(elementType(c.problem));
  const last = (c.problem.queryTokens ?? 1) - 1;
  let first = 0;
  return tokens.some((length, request) => {
    const from = first;
    first += length;
    const score = (head: number, token: number) => {
      const at = ((from + token) * kvHeads + Math.floor(head / ratio)) * headSize;
      const query = rowOf(c.problem, request, last, head) * headSize;
      let sum = 0;
      for (let d = 0; d < headSize; d++) sum += values[q[query + d]] * values[k[at + d]];
      return sum * c.options.softmaxScale;
    };
    return Array.from({ length: queryHeads }, (_, head) => head).some((head) => {
      const scores = Array.from({ length }, (_, token) => score(head, token));
      return length > 1 && Math.max(...scores.slice(0, -1)) < scores[length - 1];
    });
  });
}

const ofBatch: readonly PlantedFlaw[] = [
  {
    story: 'the first request of a batch is rounded in another way',
    property: 'request-order',
    plant: () => (c, _inputs, ran) => nudged(c, ran, (request) => request === 0),
    shows: (c) => isPinned(c) && c.problem.tokens.length > 1,
    share: 1,
  },
  {
    story: 'batches of several requests are rounded in another way',
    property: 'request-alone',
    plant: () => (c, _inputs, ran) => nudged(c, ran, () => c.problem.tokens.length > 1),
    shows: (c) => isPinned(c) && c.problem.tokens.length > 1,
    share: 1,
  },
  {
    story: 'the first query head is rounded in another way',
    property: 'head-order',
    plant: () => (c, _inputs, ran) => nudged(c, ran, (_request, head) => head === 0),
    shows: (c) => isPinned(c) && c.problem.queryHeads > 1,
    share: 1,
  },
  {
    story: 'query heads with a KV head of their own take another path',
    property: 'expanded-heads',
    plant: () => (c, _inputs, ran) =>
      nudged(c, ran, () => c.problem.queryHeads === c.problem.kvHeads),
    shows: (c) => isPinned(c) && c.problem.queryHeads > c.problem.kvHeads,
    share: 1,
  },
  {
    story: 'the next row has a weight of zero instead of none',
    property: 'neighbour-content',
    plant: () => (c, _inputs, ran) => {
      const size = c.problem.headSize;
      const values = elementValues(elementType(c.problem));
      const isNan = (i: number) => Number.isNaN(values[ran.output[i % ran.output.length]]);
      return { ...ran, output: ran.output.map((bits, i) => (isNan(i + size) ? NAN : bits)) };
    },
    shows: (c) => {
      // A row that sees no token holds no NaN of its neighbour: its output is 0.
      const { tokens, kvHeads, queryTokens = 1 } = c.problem;
      const seen = tokens.every((n) => n >= queryTokens);
      return holdsNoNan(c) && seen && tokens.length * kvHeads > 1;
    },
    share: 1,
  },
];

const ofOptions: readonly PlantedFlaw[] = [
  {
    story: 'two and more splits lose everything',
    property: 'split-count',
    plant:
      () =>
      (c, _inputs, ran, { splits }) =>
        (splits ?? c.options.splits) > 1 ? withNan(ran) : ran,
    shows: (c) => c.options.splits < 2,
    share: 0.6,
  },
  {
    story: 'the kernel chooses its splits, whatever the option says',
    property: 'reported-sizes',
    plant: () => (_c, _inputs, ran) => ({ ...ran, splits: 1 }),
    shows: (c) => c.options.splits > 1,
    share: 1,
  },
  {
    story: 'the last token is not read if its score is the largest',
    property: 'token-order',
    plant: () => (c, inputs, ran) => {
      if (!lastTokenWins(c, inputs)) return ran;
      const shorter = c.problem.tokens.map((n) => Math.max(n - 1, 0));
      return attendTampered(c, inputs, ran, () => {}, shorter);
    },
    shows: (c) => isLively(c) && !isMany(c) && c.problem.tokens.some((n) => n > 1),
    share: 0.2,
  },
  {
    story: 'the softmax scale is the default one, whatever the option says',
    property: 'query-scale',
    plant: () => (c, inputs, ran) =>
      attendTampered(withScale(c, 1 / Math.sqrt(128)), inputs, ran, () => {}),
    shows: (c) => isLively(c) && c.problem.tokens.some((n) => n > 1),
    share: 0.3,
  },
  {
    story: 'outputs below 1/8 are flushed to zero',
    property: 'value-scale',
    plant: () => (c, _inputs, ran) => {
      const values = elementValues(elementType(c.problem));
      const flushed = ran.output.map((bits) => (Math.abs(values[bits]) < 1 / 8 ? 0 : bits));
      return { ...ran, output: flushed };
    },
    shows: (c) => isLively(c) && hasTokens(c) && c.problem.tokens.some((n) => n > 8),
    share: 0.15,
  },
];

const ofSurroundings: readonly PlantedFlaw[] = [
  {
    story: 'memory behind the last token counts where it holds large numbers',
    property: 'padding-content',
    plant:
      () =>
      (_c, _inputs, ran, { poison }) =>
        f64FromF16(poison * 0x101) > 1024 ? { ...ran, lse: ran.lse.map((x) => -x) } : ran,
    // A lone token with a score of zero has an lse of zero.
    shows: (c) => isLively(c) && hasTokens(c),
    share: 1,
  },
  {
    story: 'a problem is rounded in another way after a larger one',
    property: 'history',
    plant: () => {
      let largest = 0;
      return (c, inputs, ran) => {
        const afterLarger = inputs.q.length < largest;
        largest = Math.max(largest, inputs.q.length);
        return nudged(c, ran, () => afterLarger);
      };
    },
    shows: () => true,
    share: 1,
  },
  {
    story: 'a warp that starves rounds in another way',
    property: 'schedule-independence',
    plant:
      () =>
      (c, _inputs, ran, { schedule }) => ({
        ...nudged(c, ran, () => schedule?.policy === 'starve'),
        scheduleHash: JSON.stringify(schedule ?? ''),
      }),
    shows: () => true,
    share: 1,
    capabilities: { emulated: true },
  },
  {
    story: 'a race that a schedule with priority changes shows',
    property: 'memory-laws',
    plant:
      () =>
      (_c, _inputs, ran, { schedule }) => {
        if (schedule?.policy !== 'pct') return ran;
        const place = { file: 'decode.cu', line: 7, count: 1 };
        return { ...ran, reports: [{ kind: 'data race', text: 'two threads', ...place }] };
      },
    shows: () => true,
    share: 1,
    capabilities: { emulated: true, checked: true },
  },
];

const ofNumbers: readonly PlantedFlaw[] = [
  {
    story: 'exponentials without a maximum overflow',
    property: 'key-shift',
    plant: () => (_c, _inputs, ran) => (ran.lse.some((x) => Math.abs(x) > 88) ? withNan(ran) : ran),
    shows: (c) => isLively(c) && hasTokens(c),
    share: 0.2,
  },
  {
    story: 'lse is a base-2 logarithm',
    property: 'merged-halves',
    plant: () => (_c, _inputs, ran) => ({ ...ran, lse: ran.lse.map((x) => x / Math.LN2) }),
    shows: (c) => isLively(c) && !isMany(c) && c.problem.tokens.some((n) => n > 1),
    share: 0.8,
  },
  {
    story: 'lse is that of the mean of the exponentials',
    property: 'duplicated-tokens',
    plant: () => (c, _inputs, ran) => {
      const places = rowPlaces(c.problem);
      const mean = (x: number, row: number) => x - Math.log(places[row].visible);
      return { ...ran, lse: ran.lse.map(mean) };
    },
    shows: (c) => isLively(c) && !isMany(c) && c.problem.tokens.some((n) => n > 0 && n % 128 < 64),
    share: 1,
  },
];

/** Cases with records and tokens behind them. */
const hasWindow = ({ problem }: Case) => problem.tokens.some((n) => n % 128 > 0);
const hasRecord = ({ problem, scheme }: Case) =>
  scheme.format !== 'fp16' && problem.tokens.some((n) => n >= 128);

/** The first byte of the first record that a request owns is another. */
function damagedRecord(c: Case, ran: Ran): Ran {
  const first = pageLookup(c.problem, pageTable(c));
  const request = c.problem.tokens.findIndex((n) => n >= 128);
  if (request === -1) return ran;
  const bytes = recordBytes(c.scheme, c.problem.headSize) * c.problem.kvHeads;
  const cache = ran.cache.slice();
  cache[first(request, 0) * bytes] ^= 1;
  return { ...ran, cache };
}

const ofBreadth: readonly PlantedFlaw[] = [
  {
    story: 'a window that fills up in a step is packed with one code off',
    property: 'appended-tokens',
    plant: () => (c, _inputs, ran) => ((c.options.appended ?? 0) > 0 ? damagedRecord(c, ran) : ran),
    shows: (c) => c.problem.tokens.some((n) => n >= 128),
    share: 1,
  },
  {
    story: 'records behind a page table are read in the order of the pool',
    property: 'page-order',
    plant: () => (c, _inputs, ran) => nudged(c, ran, () => c.options.pages?.order === 'shuffled'),
    shows: hasTokens,
    share: 0.6,
  },
  {
    story: 'a record is packed by every request whose page it is',
    property: 'kept-tokens',
    plant:
      () =>
      (c, { k }, ran) => {
        const first = firstTokens(c.problem);
        const rowSize = c.problem.kvHeads * c.problem.headSize;
        const isNan = sharedTokens(c).some((n, r) => n > 0 && k[first[r] * rowSize] === NAN);
        return isNan ? damagedRecord(c, ran) : ran;
      },
    shows: (c) => hasSharedTokens(c) && holdsNoNan(c),
    share: 1,
    kind: 'shared',
  },
  {
    story: 'the offset of a page is a number of 32 bits',
    property: 'far-pages',
    plant:
      () =>
      (c, _inputs, ran, { firstPage = 0 }) =>
        firstPage * recordBytes(c.scheme, c.problem.headSize) * c.problem.kvHeads < 2 ** 32
          ? ran
          : damagedRecord(c, ran),
    shows: (c) => c.problem.tokens.some((n) => n >= 128),
    share: 1,
  },
  {
    story: 'rows that lie apart are taken with an element of the gap',
    property: 'strided-rows',
    plant: () => (c, _inputs, ran) => ((c.options.inputPadding ?? 0) >= 8 ? withNan(ran) : ran),
    shows: (c) => (c.options.inputPadding ?? 0) === 0,
    share: 0.9, // where all of them are NaN anyway nothing shows
  },
  {
    story: 'a dequantised value is rounded in another way',
    property: 'dequantized-values',
    plant: () => (_c, _inputs, ran) => {
      const { vValues = new Uint16Array(0) } = ran;
      return { ...ran, vValues: vValues.map((word) => word ^ 1) };
    },
    shows: (c) => hasTokens(c) && isLively(c),
    share: 1,
  },
  {
    story: 'the last token is seen by every query token',
    property: 'later-tokens',
    plant: () => (c, inputs, ran) => {
      const { problem, scheme, options } = c;
      const { cache, kResidual, vResidual } = ran;
      const heads = readCache(problem, scheme, cache, kResidual, vResidual, pageTable(c));
      const rows = heads.map((head) => {
        return plainRows(allRows(head, keyRows), allRows(head, valueRows), problem.headSize);
      });
      const type = elementType(problem);
      const q = Float64Array.from(inputs.q, (word) => elementValues(type)[word]);
      const seen = attendWith(problem, options.softmaxScale, q, rows);
      return { ...ran, output: elementWords(type, seen.output) };
    },
    shows: (c) => isMany(c) && isLively(c) && hasWindow(c),
    share: 0.7,
  },
  {
    story: 'the first of several query tokens sees one token less',
    property: 'query-tokens-alone',
    plant: () => (c, _inputs, ran) =>
      isMany(c) ? ran : { ...ran, lse: ran.lse.map((x) => x + 1) },
    shows: (c) => isMany(c) && isLively(c) && hasWindow(c),
    share: 0.9,
  },
  {
    story: 'bf16 values are rounded before they are quantised',
    property: 'type-change',
    plant: () => (c, _inputs, ran) =>
      elementType(c.problem) === 'bf16' ? damagedRecord(c, ran) : ran,
    shows: hasRecord,
    share: 1,
  },
];

export const FLAWS: readonly PlantedFlaw[] = [
  ...ofBreadth,
  ...ofBatch,
  ...ofOptions,
  ...ofSurroundings,
  ...ofNumbers,
];

export class FlawedKernel extends ChangedKernel {
  constructor(right: Kernel, { property, plant, capabilities }: PlantedFlaw) {
    super(right, `flawed:${property}`, plant(), capabilities);
  }
}
