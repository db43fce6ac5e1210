// real-cache.ts - cases cut from the KV cache of a trained model (corpus/code-lm).
//
// Every layer at every bit width and group that the kernel supports. Random tensors do not look
// like a cache: K of layers 2 to 5 has channel outliers of 3 to 5 times the median and V has tokens
// of 10 times the median, and both decide how large scales and scores become. Lengths and positions
// go round a short list, so that records, tails, split boundaries and several requests all meet.

import { schemesOf } from '../../properties/arbitrary/scheme.js';
import { CASE_SCHEMA, type Case } from '../../properties/case.js';
import type { Capabilities } from '../../properties/kernel.js';
import { CODE_LM_LAYERS } from '../../properties/recipe.js';

/** 1/sqrt(128) as the model was trained with, rounded to float32 as kernels receive it. */
const SOFTMAX_SCALE = Math.fround(1 / Math.sqrt(128));

/** Head size of the stored model. */
const HEAD_SIZE = 128;

/** Tokens of each request: tails of 1, 127 and others, whole records, several requests. */
const LENGTHS: readonly (readonly number[])[] = [
  [517],
  [129, 300],
  [1000],
  [255],
  [128, 1, 385],
  [640],
  [777],
];

/** Where a slice starts in the 4,096 stored tokens. */
const FIRST_TOKENS = [0, 1031, 2500, 3300, 64];

export function realCacheCases(capabilities: Capabilities): Case[] {
  const formats = capabilities.formats.filter(({ headSizes }) => headSizes.includes(HEAD_SIZE));
  const cases: Case[] = [];
  for (let layer = 0; layer < CODE_LM_LAYERS; layer++) {
    for (const scheme of schemesOf(formats)) {
      const turn = cases.length;
      const recipe = {
        distribution: 'code-lm' as const,
        layer,
        firstToken: FIRST_TOKENS[turn % FIRST_TOKENS.length],
      };
      const tokens = LENGTHS[turn % LENGTHS.length].map((n) => Math.min(n, capabilities.tokensMax));
      cases.push({
        schema: CASE_SCHEMA,
        problem: { tokens, queryHeads: 4, kvHeads: 2, headSize: HEAD_SIZE },
        scheme,
        tensors: { q: recipe, k: recipe, v: recipe },
        options: { softmaxScale: SOFTMAX_SCALE, splits: [0, 1, 3][turn % 3] },
      });
    }
  }
  return cases;
}
