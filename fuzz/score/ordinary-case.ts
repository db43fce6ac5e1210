// ordinary-case.ts - a plain case for every width and head size that a kernel declares, a crowd,
// and as many query tokens as it takes.
//
// Each pair is code of its own, often a translation unit, and a mistake that breaks all of it
// should not wait for a draw. Axes, groups, types and two ratios go round: few query heads on a KV
// head, and so many that they take two tiles. The crowd has more blocks than a GPU runs at a time.
// Of many query tokens the first see nothing of a short request, or of a short window.

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

/** All widths in one head size, the crowd, many queries, then the other head sizes. */
export function ordinaryCases(capabilities: Capabilities): Case[] {
  const all = supported(capabilities);
  const sizes = new Set(all.map(({ headSize }) => headSize));
  const widths = new Set(all.map(({ scheme }) => scheme.bits));
  const cases = [...sizes]
    .flatMap((size) =>
      [...widths].map((bits) => all.filter((s) => s.headSize === size && s.scheme.bits === bits)),
    )
    .filter((own) => own.length > 0)
    .map((own, turn) => {
      const ratio = Math.min(RATIOS[turn % RATIOS.length], capabilities.headsPerKvMax);
      const tokens = [Math.min(TOKENS, capabilities.tokensMax)];
      const heads = { queryHeads: KV_HEADS * ratio, kvHeads: KV_HEADS };
      return caseOf(own[(5 * turn) % own.length], { tokens, ...heads }, turn);
    });
  if (all.length === 0) return [];
  const { queryTokensMax = 1, tokensMax } = capabilities;
  const shapes = [crowd(all[0], cases.length), ...manyQueries(all[0], queryTokensMax)];
  const fitting = shapes.filter(({ problem }) => Math.max(...problem.tokens) <= tokensMax);
  return cases.toSpliced(widths.size, 0, ...fitting);
}

function manyQueries(supported: Supported, queryTokens: number): Case[] {
  if (queryTokens === 1) return [];
  const tokens = [1, recordTokens + 2, TOKENS];
  const shape = { tokens, queryHeads: 2 * KV_HEADS, kvHeads: KV_HEADS, queryTokens };
  return [caseOf(supported, shape, queryTokens)];
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
