// ordinary-case.ts - a plain case for every width and head size that a kernel declares.
//
// Each pair is code of its own, often a translation unit, and a mistake that breaks all of it
// should not wait for a draw. Axes, groups and types go round.

import { schemesOf } from '../../properties/arbitrary/scheme.js';
import { CASE_SCHEMA, type Case } from '../../properties/case.js';
import type { Capabilities } from '../../properties/kernel.js';
import type { ElementType } from '../../reference/format.js';
import { recordTokens, type Scheme } from '../../reference/scheme.js';

/** Two records and a part of one. */
const TOKENS = 2 * recordTokens + 44;

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

/** All widths in one head size, then in the next. */
export function ordinaryCases(capabilities: Capabilities): Case[] {
  const all = supported(capabilities);
  const sizes = new Set(all.map(({ headSize }) => headSize));
  const widths = new Set(all.map(({ scheme }) => scheme.bits));
  return [...sizes]
    .flatMap((size) =>
      [...widths].map((bits) => all.filter((s) => s.headSize === size && s.scheme.bits === bits)),
    )
    .filter((own) => own.length > 0)
    .map((own, turn) => caseOf(own[(5 * turn) % own.length], turn, capabilities.tokensMax));
}

function caseOf({ scheme, headSize, type }: Supported, turn: number, tokensMax: number): Case {
  const shape = { tokens: [Math.min(TOKENS, tokensMax)], queryHeads: 4, kvHeads: 2, headSize };
  return {
    schema: CASE_SCHEMA,
    problem: type === 'fp16' ? shape : { ...shape, type },
    scheme,
    tensors: { q: normal(3 * turn), k: normal(3 * turn + 1), v: normal(3 * turn + 2) },
    options: { softmaxScale: Math.fround(1 / Math.sqrt(headSize)), splits: 0 },
  };
}
