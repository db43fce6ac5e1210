// materialize: the tensors of a Case, as words of its type. The same case gives the same bits on
// every machine.
//
// Drawn values are 2^scale * (offset + x) in float64, saturated to the fp16 range for either type
// (caches keep their parameters in fp16) and rounded once (reference/format.ts). Requests that
// share pages have request 0's tokens there. Slices of the real cache come from a TensorSource that
// the caller supplies, because this folder opens no file; a missing source is an expected result,
// not an exception.

import { elementFromF64, f64FromF16 } from '../reference/format.js';
import { elementType, firstTokens, queryTokenCount } from '../reference/problem.js';
import { type Case, type TensorName, tensorElements } from './case.js';
import { FILL } from './distributions.js';
import type { Drawing, Row } from './drawing.js';
import { keyOf } from './generator.js';
import type { Inputs } from './kernel.js';
import { sharedTokens } from './pages.js';
import { type CodeLmRecipe, type DrawnRecipe, decodeF16, type Recipe } from './recipe.js';

/** One stored tensor: fp16 bits, (heads, tokens, headSize). */
export interface SourceTensor {
  readonly kind: 'tensor';
  readonly heads: number;
  readonly tokens: number;
  readonly headSize: number;
  readonly f16: Uint16Array; // (heads, tokens, headSize)
}

export type SourceResult = SourceTensor | { readonly kind: 'missing'; readonly message: string };

/** Where slices of real caches come from. For q, `tokens` are the stored query positions. */
export interface TensorSource {
  tensor(name: 'code-lm', tensor: TensorName, layer: number): SourceResult;
}

/** A source that has nothing: drawn and literal recipes need no more. */
export const noSource: TensorSource = {
  tensor: (name) => ({ kind: 'missing', message: `${name}: no tensor source was given` }),
};

export type Materialized =
  | { readonly kind: 'inputs'; readonly inputs: Inputs }
  | { readonly kind: 'error'; readonly message: string };

/** Largest value of each type that fp16 parameters can express. */
const VALUE_MAX = { fp16: 65504, bf16: 65280 } as const;

/** Streams of the generator: Q, K and V with one seed are still unrelated. */
const STREAM: Readonly<Record<TensorName, number>> = { q: 1, k: 2, v: 3 };

export function materialize(c: Case, source: TensorSource): Materialized {
  const tensors: Partial<Record<TensorName, Uint16Array>> = {};
  for (const name of ['q', 'k', 'v'] as const) {
    const made = materializeTensor(c, name, source);
    if (typeof made === 'string')
      return { kind: 'error', message: `case.tensors.${name}: ${made}` };
    if (name !== 'q') shareTokens(c, made);
    tensors[name] = made;
  }
  return { kind: 'inputs', inputs: tensors as Record<TensorName, Uint16Array> };
}

/** Gives the requests that share pages with request 0 its tokens there, in place. */
function shareTokens(c: Case, x: Uint16Array): void {
  const first = firstTokens(c.problem);
  const rowSize = c.problem.kvHeads * c.problem.headSize;
  for (const [request, tokens] of sharedTokens(c).entries()) {
    x.copyWithin(first[request] * rowSize, 0, tokens * rowSize);
  }
}

/** The tensor, or one sentence that says why there is none. */
function materializeTensor(c: Case, name: TensorName, source: TensorSource): Uint16Array | string {
  const recipe: Recipe = c.tensors[name];
  const elements = tensorElements(c.problem);
  const count = name === 'q' ? elements.q : elements.kv;
  if (recipe.distribution === 'literal') {
    return decodeF16(recipe.f16, count) ?? `the literal does not hold ${count} words`;
  }
  if (recipe.distribution === 'code-lm') return sliced(c, name, recipe, source);
  return drawn(c, name, recipe);
}

/** Calls `visit` for every row of a tensor in its order; `at` is the first element of the row. */
function eachRow(c: Case, name: TensorName, visit: (row: Row, at: number) => void): void {
  const { tokens, queryHeads, kvHeads, headSize } = c.problem;
  let at = 0;
  tokens.forEach((length, request) => {
    const positions = name === 'q' ? queryTokenCount(c.problem) : length;
    const heads = name === 'q' ? queryHeads : kvHeads;
    for (let position = 0; position < positions; position++) {
      for (let head = 0; head < heads; head++) {
        visit({ request, head, position, tokens: positions }, at);
        at += headSize;
      }
    }
  });
}

/** 2^exponent, exact: `**` may be approximate by the letter of the language. */
function powerOfTwo(exponent: number): number {
  let power = 1;
  for (let i = 0; i < Math.abs(exponent); i++) power *= exponent < 0 ? 0.5 : 2;
  return power;
}

function drawn(c: Case, name: TensorName, recipe: DrawnRecipe): Uint16Array {
  const { headSize } = c.problem;
  const elements = tensorElements(c.problem);
  const out = new Uint16Array(name === 'q' ? elements.q : elements.kv);
  if (recipe.distribution === 'zero') return out;
  const drawing: Drawing = {
    key: keyOf(recipe.seed, STREAM[name]),
    codeMax: 2 ** c.scheme.bits - 1,
    groupsAlongTokens: name === 'k' && c.scheme.kAxis === 'channel',
  };
  const type = elementType(c.problem);
  const valueMax = VALUE_MAX[type];
  const fill = FILL[recipe.distribution];
  const scale = powerOfTwo(recipe.scale);
  const x = new Float64Array(headSize);
  eachRow(c, name, (row, at) => {
    fill(drawing, row, x);
    for (let channel = 0; channel < headSize; channel++) {
      const value = saturated(scale * (recipe.offset + x[channel]), valueMax);
      out[at + channel] = elementFromF64(type, value);
    }
  });
  return out;
}

/** Finite values stay within the range; NaN and Inf pass. */
function saturated(value: number, max: number): number {
  if (Math.abs(value) <= max || !Number.isFinite(value)) return value;
  return value < 0 ? -max : max;
}

/**
 * Rows of the stored cache. KV head h reads stored head h mod heads. Query heads keep their
 * pairing: member m of KV head h reads stored query head (h mod KV heads) * 2 + (m mod 2), and
 * later members and later requests read later query positions. Both axes wrap around.
 */
function sliced(
  c: Case,
  name: TensorName,
  recipe: CodeLmRecipe,
  source: TensorSource,
): Uint16Array | string {
  const stored = source.tensor('code-lm', name, recipe.layer);
  if (stored.kind === 'missing') return stored.message;
  const { headSize, queryHeads, kvHeads } = c.problem;
  if (stored.headSize !== headSize) {
    return `found head size ${stored.headSize} in code-lm, required ${headSize}`;
  }
  const elements = tensorElements(c.problem);
  const out = new Uint16Array(name === 'q' ? elements.q : elements.kv);
  const ratio = queryHeads / kvHeads;
  const type = elementType(c.problem);
  eachRow(c, name, ({ request, head, position }, at) => {
    let storedHead = head % stored.heads;
    let token = recipe.firstToken + position + 577 * request; // requests read different text
    if (name === 'q') {
      const member = head % ratio;
      storedHead = (2 * Math.floor(head / ratio) + (member % 2)) % stored.heads;
      token = recipe.firstToken + request + position + Math.floor(member / 2);
    }
    const from = (storedHead * stored.tokens + (token % stored.tokens)) * headSize;
    const row = stored.f16.subarray(from, from + headSize);
    out.set(type === 'fp16' ? row : row.map((x) => elementFromF64(type, f64FromF16(x))), at);
  });
  return out;
}
