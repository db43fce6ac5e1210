// conform-cases.ts - the cases that conformance is judged on: a few shapes for every combination
// that a kernel declares, the same for everybody. Small, since every law runs them several times.

import { schemesOf } from '../../properties/arbitrary/scheme.js';
import { CASE_SCHEMA, type Case } from '../../properties/case.js';
import type { Capabilities, FormatSupport } from '../../properties/kernel.js';
import type { Recipe } from '../../properties/recipe.js';

/** Combinations at most, spread over all that are declared. */
const COMBINATIONS_MAX = 24;

const drawn = (distribution: 'normal' | 'non-finite', seed: number): Recipe => {
  return { distribution, seed, scale: 0, offset: 0 };
};

interface Shape {
  readonly tokens: readonly number[];
  readonly ratio: number;
  readonly kvHeads: number;
  readonly splits: number;
}

/** No tokens, one token, both sides of a record, several requests and heads. */
const SHAPES: readonly Shape[] = [
  { tokens: [131, 0, 1], ratio: 4, kvHeads: 2, splits: 0 },
  { tokens: [257], ratio: 1, kvHeads: 1, splits: 2 },
];

function fitting(shape: Shape, capabilities: Capabilities): Shape {
  const { tokensMultiple = 1, tokensMax, headsPerKvMax } = capabilities;
  const tokens = shape.tokens.map((n) => {
    const most = tokensMax - (tokensMax % tokensMultiple);
    return Math.min(most, Math.ceil(n / tokensMultiple) * tokensMultiple);
  });
  return { ...shape, tokens, ratio: Math.min(shape.ratio, headsPerKvMax) };
}

function combinationsOf(entry: FormatSupport) {
  return schemesOf([entry]).flatMap((scheme) =>
    entry.headSizes.flatMap((headSize) =>
      (entry.types ?? ['fp16']).map((type) => ({ scheme, headSize, type })),
    ),
  );
}

/** Cases of finite numbers in every combination, and one with NaN and infinities in it. */
export function conformCases(capabilities: Capabilities): Case[] {
  const all = capabilities.formats.flatMap(combinationsOf);
  const step = Math.max(1, all.length / COMBINATIONS_MAX);
  const chosen = Array.from({ length: Math.min(all.length, COMBINATIONS_MAX) }, (_, i) => {
    return all[Math.floor(i * step)];
  });
  const cases = chosen.map(({ scheme, headSize, type }, i): Case => {
    const shape = fitting(SHAPES[i % SHAPES.length], capabilities);
    const { tokens, kvHeads, ratio, splits } = shape;
    const own = type === 'fp16' ? {} : { type };
    return {
      schema: CASE_SCHEMA,
      problem: { tokens, queryHeads: kvHeads * ratio, kvHeads, headSize, ...own },
      scheme,
      tensors: {
        q: drawn('normal', 3 * i),
        k: drawn('normal', 3 * i + 1),
        v: drawn('normal', 3 * i + 2),
      },
      options: { softmaxScale: Math.fround(1 / Math.sqrt(headSize)), splits },
    };
  });
  const [first] = cases;
  const wrong = drawn('non-finite', 1);
  return [...cases, { ...first, tensors: { q: wrong, k: wrong, v: wrong } }];
}
