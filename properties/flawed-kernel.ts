// FlawedKernel: kernels with a flaw that the case itself need not show, for the tests of relations.
// Most flaws are smaller than any bound (one unit in the last place) or appear only in other
// surroundings: another place in the batch, another schedule, another neighbour. Each names the
// property that exists to see it. What is wrong on every case is in spoiled-kernel.ts.

import { f64FromF16 } from '../reference/format.js';
import type { Case } from './case.js';
import type { Capabilities, Inputs, Kernel, Ran } from './kernel.js';
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
}

const NAN = 0x7fff;

const hasTokens = ({ problem }: Case) => problem.tokens.some((n) => n > 0);
const holdsNoNan = ({ tensors }: Case) =>
  [tensors.q, tensors.k, tensors.v].every(({ distribution }) => distribution !== 'non-finite');
const isPinned = ({ options }: Case) => options.splits !== 0;
const isLively = ({ tensors }: Case) =>
  [tensors.q, tensors.k, tensors.v].every(({ distribution }) => distribution === 'normal');

/** Output with one unit in the last place more or less in the rows that are chosen. */
function nudged(c: Case, ran: Ran, chosen: (request: number, head: number) => boolean): Ran {
  const { queryHeads, headSize } = c.problem;
  const output = ran.output.map((bits, i) => {
    const row = Math.floor(i / headSize);
    return chosen(Math.floor(row / queryHeads), row % queryHeads) ? bits ^ 1 : bits;
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
  let first = 0;
  return tokens.some((length, request) => {
    const from = first;
    first += length;
    const score = (head: number, token: number) => {
      const at = ((from + token) * kvHeads + Math.floor(head / ratio)) * headSize;
      const query = (request * queryHeads + head) * headSize;
      let sum = 0;
      for (let d = 0; d < headSize; d++) sum += f64FromF16(q[query + d]) * f64FromF16(k[at + d]);
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
      const isNan = (i: number) => Number.isNaN(f64FromF16(ran.output[i % ran.output.length]));
      return { ...ran, output: ran.output.map((bits, i) => (isNan(i + size) ? NAN : bits)) };
    },
    shows: (c) => {
      const { tokens, kvHeads } = c.problem;
      return holdsNoNan(c) && tokens.every((n) => n > 0) && tokens.length * kvHeads > 1;
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
    story: 'the last token is not read if its score is the largest',
    property: 'token-order',
    plant: () => (c, inputs, ran) => {
      if (!lastTokenWins(c, inputs)) return ran;
      const shorter = c.problem.tokens.map((n) => Math.max(n - 1, 0));
      return attendTampered(c, inputs, ran, () => {}, shorter);
    },
    shows: (c) => isLively(c) && c.problem.tokens.some((n) => n > 1),
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
    plant: () => (_c, _inputs, ran) => {
      const flushed = ran.output.map((bits) => (Math.abs(f64FromF16(bits)) < 1 / 8 ? 0 : bits));
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
    shows: (c) => isLively(c) && c.problem.tokens.some((n) => n > 1),
    share: 0.8,
  },
  {
    story: 'lse is that of the mean of the exponentials',
    property: 'duplicated-tokens',
    plant: () => (c, _inputs, ran) => {
      const { tokens, queryHeads } = c.problem;
      const mean = (x: number, row: number) => x - Math.log(tokens[Math.floor(row / queryHeads)]);
      return { ...ran, lse: ran.lse.map(mean) };
    },
    shows: (c) => isLively(c) && c.problem.tokens.some((n) => n > 0 && n % 128 < 64),
    share: 1,
  },
];

export const FLAWS: readonly PlantedFlaw[] = [
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
