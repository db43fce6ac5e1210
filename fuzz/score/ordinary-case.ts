// ordinary-case.ts - a plain case for every width and head size that a kernel declares, a crowd,
// as many query tokens as it takes, and pages, steps and strides where it has them.
//
// Each pair is code of its own, often a translation unit, and a mistake that breaks all of it
// should not wait for a draw. Axes, groups, types and two ratios go round: few query heads on a KV
// head, and so many that they take two tiles. The crowd has more blocks than a GPU runs at a time.
// Of many query tokens the first see nothing of a short request, or of a short window. Of the
// requests that are appended to, one fills a record, one shares its first page, two end before the
// others, and one has no token at all.

import { schemesOf } from '../../properties/arbitrary/scheme.js';
import { CASE_SCHEMA, type Case } from '../../properties/case.js';
import type { Capabilities } from '../../properties/kernel.js';
import type { ElementType } from '../../reference/format.js';
import type { Problem } from '../../reference/problem.js';
import { recordTokens, type Scheme } from '../../reference/scheme.js';

/** Two records and a part of one. */
const TOKENS = 2 * recordTokens + 44;
const KV_HEADS = 2;
const RATIOS = [2, 16];
/** One fills a record. */
const STEPS = 3;
const PADDING = 8;
/** 272 pairs of a request and a KV head; two blocks fit on each of 132 multiprocessors. */
const CROWD = { requests: 34, kvHeads: 8, lengths: 5 };

interface Supported {
  readonly scheme: Scheme;
  readonly headSize: number;
  readonly type: ElementType;
}

const normal = (seed: number) => {
  return { distribution: 'normal', seed, scale: 0, offset: 0 } as const;
};

function supported({ formats }: Capabilities): Supported[] {
  return formats.flatMap((entry) =>
    entry.headSizes.flatMap((headSize) =>
      schemesOf([entry]).flatMap((scheme) =>
        (entry.types ?? ['fp16']).map((type) => ({ scheme, headSize, type })),
      ),
    ),
  );
}

/** Widths by head size, and shapes: no run of one head size's widths shows what these show. */
export interface OrdinaryCases {
  /** For each head size a case of every width. */
  readonly widths: readonly (readonly Case[])[];
  readonly shapes: readonly Case[];
}

export function ordinaryCases(capabilities: Capabilities): OrdinaryCases {
  const all = supported(capabilities);
  const sizes = [...new Set(all.map(({ headSize }) => headSize))];
  const bits = [...new Set(all.map(({ scheme }) => scheme.bits))];
  let turn = 0;
  const widths = sizes.map((size) =>
    bits
      .map((width) => all.filter((s) => s.headSize === size && s.scheme.bits === width))
      .filter((own) => own.length > 0)
      .map((own) => {
        const c = plain(own[(5 * turn) % own.length], capabilities, turn);
        turn += 1;
        return c;
      }),
  );
  return { widths, shapes: all.length === 0 ? [] : shapesOf(all, capabilities, turn) };
}

function plain(chosen: Supported, { headsPerKvMax, tokensMax }: Capabilities, turn: number): Case {
  const ratio = Math.min(RATIOS[turn % RATIOS.length], headsPerKvMax);
  const tokens = [Math.min(TOKENS, tokensMax)];
  return caseOf(chosen, { tokens, queryHeads: KV_HEADS * ratio, kvHeads: KV_HEADS }, turn);
}

function shapesOf(all: readonly Supported[], capabilities: Capabilities, turn: number): Case[] {
  const { queryTokensMax = 1, tokensMax } = capabilities;
  const shapes = [
    crowd(all[0], turn),
    ...manyQueries(all[0], queryTokensMax),
    ...inSteps(all[all.length >> 1], capabilities),
    ...spreadApart(all[0], capabilities),
  ];
  return shapes.filter(({ problem }) => Math.max(...problem.tokens) <= tokensMax);
}

function manyQueries(supported: Supported, queryTokens: number): Case[] {
  if (queryTokens === 1) return [];
  const tokens = [1, recordTokens + 2, TOKENS];
  const shape = { tokens, queryHeads: 2 * KV_HEADS, kvHeads: KV_HEADS, queryTokens };
  return [caseOf(supported, shape, queryTokens)];
}

/** Behind a page table, without one request's page of its own, and in steps, as far as declared. */
function inSteps(supported: Supported, { paged, append }: Capabilities): Case[] {
  if (paged !== true) return [];
  const tokens = [2 * recordTokens + 1, recordTokens + 2, 1, 0];
  const c = caseOf(supported, { tokens, queryHeads: 2 * KV_HEADS, kvHeads: KV_HEADS }, STEPS);
  const pages = { order: 'shuffled', seed: 1, spare: 1, sharedRecords: 1 } as const;
  const steps = append === true ? { appended: STEPS } : {};
  return [{ ...c, options: { ...c.options, pages, ...steps } }];
}

function spreadApart(supported: Supported, { strided }: Capabilities): Case[] {
  if (strided !== true) return [];
  const tokens = [TOKENS, 2];
  const c = caseOf(supported, { tokens, queryHeads: 2 * KV_HEADS, kvHeads: KV_HEADS }, PADDING);
  return [{ ...c, options: { ...c.options, inputPadding: PADDING } }];
}

function crowd(supported: Supported, turn: number): Case {
  const { requests, kvHeads, lengths } = CROWD;
  const tokens = Array.from({ length: requests }, (_, i) => i % lengths);
  return caseOf(supported, { tokens, queryHeads: kvHeads, kvHeads }, turn);
}

function caseOf(
  { scheme, headSize, type }: Supported,
  shape: Omit<Problem, 'headSize' | 'type'>,
  turn: number,
): Case {
  return {
    schema: CASE_SCHEMA,
    problem: { ...shape, headSize, ...(type === 'fp16' ? {} : { type }) },
    scheme,
    tensors: { q: normal(3 * turn), k: normal(3 * turn + 1), v: normal(3 * turn + 2) },
    options: { softmaxScale: Math.fround(1 / Math.sqrt(headSize)), splits: 0 },
  };
}
