// Stored: the caches of kernels with a layout of their own, as rows of numbers to attend over.
//
// Best first: the cache in the layout of the format's spec is unpacked and means what the spec says
// (exactly, or with the roundings of the format's own dequantiser where the kernel declares them);
// dequantised values are taken as the kernel gives them; without either, the spec quantises the
// inputs and attention is judged end to end. Tokens beyond the last whole block are the inputs
// themselves.

import { type HeadCache, oneQueryToken } from '../reference/cache.js';
import { boundDense, usualPrecision } from '../reference/dense-bound.js';
import { f64Array } from '../reference/format.js';
import { headTensor, specOf } from '../reference/formats/case-scheme.js';
import type { TensorName } from '../reference/formats/format-spec.js';
import { elementType, firstTokens, headRows, queryRowCount } from '../reference/problem.js';
import type { Case } from './case.js';
import type { Capabilities, Inputs, Ran } from './kernel.js';
import type { Judgement, Observation, Outcome, Verdict } from './property.js';

/** Verdict of properties that are about our records. */
export const notRecords: Verdict = {
  kind: 'unsupported',
  reason: 'the kernel keeps its cache in a layout of its own',
};

/** Verdict of properties that move tokens between records. */
export const otherBlocks: Verdict = {
  kind: 'unsupported',
  reason: 'the kernel quantises other blocks of tokens than records',
};

/** Whether a request cut or ordered at records has the same codes as the whole. */
export function cutsAtRecords({ kernel }: Judgement): boolean {
  const { layout, blockTokens = 1, tokensMultiple = 1 } = kernel.capabilities;
  if (layout === 'record128') return true;
  return [1, 128].includes(blockTokens) && 128 % tokensMultiple === 0;
}

/** Tokens of a request that are quantised. */
export function quantizedTokens(tokens: number, { blockTokens = 1 }: Capabilities): number {
  return tokens - (tokens % blockTokens);
}

/** Rows of one tensor of one request and KV head, (tokens, headSize). */
export function storedRows(
  c: Case,
  capabilities: Capabilities,
  inputs: Inputs,
  ran: Ran,
  tensor: TensorName,
  index: number,
): Float64Array {
  const { problem, scheme } = c;
  const { kvHeads, headSize } = problem;
  const [request, head] = [Math.floor(index / kvHeads), index % kvHeads];
  const tokens = problem.tokens[request];
  const first = firstTokens(problem)[request];
  const given = ran.stored?.values?.[tensor];
  const packed = ran.stored?.packed?.[tensor][index];
  if (given !== undefined && packed === undefined) {
    const rows = new Float64Array(tokens * headSize);
    for (let t = 0; t < tokens; t++) {
      const from = ((first + t) * kvHeads + head) * headSize;
      rows.set(given.subarray(from, from + headSize), t * headSize);
    }
    return rows;
  }
  const words = headRows(problem, inputs[tensor], head, first, tokens);
  const rows = f64Array(words, undefined, elementType(problem));
  const spec = specOf(scheme);
  const count = quantizedTokens(tokens, capabilities);
  if (spec === null || count === 0) return rows;
  const t = headTensor(spec, scheme, tensor, count, headSize);
  const codes =
    packed === undefined
      ? spec.quantize(t, rows.subarray(0, count * headSize))
      : spec.unpack(t, packed);
  rows.set(capabilities.roundedValues ? spec.dequantize(t, codes) : spec.exact(t, codes));
  return rows;
}

/** What is wrong with the sizes of what a kernel says that it stored, or null. */
export function storedError(c: Case, capabilities: Capabilities, ran: Ran): string | null {
  const { problem, scheme } = c;
  const { packed, values, query } = ran.stored ?? {};
  const elements = firstTokens(problem)[problem.tokens.length] * problem.kvHeads * problem.headSize;
  const spec = specOf(scheme);
  const length = (name: string, found: number, required: number) =>
    found === required ? null : `${name}: found ${found} values, required ${required}`;
  for (const tensor of ['k', 'v'] as const) {
    const rows = values?.[tensor].length ?? elements;
    const wrong = length(`values.${tensor}`, rows, elements);
    if (wrong !== null) return wrong;
    if (packed === undefined) continue;
    if (spec === null) return 'packed: found a cache, required none for values kept as they came';
    const heads = problem.tokens.flatMap((n) => Array<number>(problem.kvHeads).fill(n));
    const count = length(`packed.${tensor}`, packed[tensor].length, heads.length);
    if (count !== null) return count;
    for (const [i, tokens] of heads.entries()) {
      const own = quantizedTokens(tokens, capabilities);
      const t = headTensor(spec, scheme, tensor, own, problem.headSize);
      for (const [name, bytes] of Object.entries(spec.arrays(t))) {
        const found = packed[tensor][i][name]?.length ?? 0;
        const size = length(`packed.${tensor}[${i}].${name}`, found, bytes);
        if (size !== null) return size;
      }
    }
  }
  const rows = queryRowCount(problem) * problem.headSize;
  return query === undefined ? null : length('query', query.length, rows);
}

/** The reference over what a kernel stored. */
export function observeStored(
  c: Case,
  capabilities: Capabilities,
  inputs: Inputs,
  run: Ran,
): Outcome<Observation> {
  const { problem, scheme, options } = c;
  const { kvHeads, headSize } = problem;
  const nothing = {
    ...{ codes: new Uint8Array(0), scales: new Uint16Array(0), zeros: new Uint16Array(0) },
  };
  const none = new Uint16Array(0);
  const type = elementType(problem);
  const heads = problem.tokens.flatMap((tokens, request) =>
    Array.from({ length: kvHeads }, (_, head): HeadCache => {
      const index = request * kvHeads + head;
      const rows = (tensor: TensorName) => storedRows(c, capabilities, inputs, run, tensor, index);
      return {
        ...{ scheme, headSize, tokens, type, packed: 0, k: nothing, v: nothing },
        ...{ kResidual: none, vResidual: none, dense: { k: rows('k'), v: rows('v') } },
      };
    }),
  );
  const precision = capabilities.precision ?? usualPrecision;
  const q = run.stored?.query
    ? Float64Array.from(run.stored.query)
    : f64Array(inputs.q, undefined, type);
  const flat = oneQueryToken(problem, heads);
  const bound = boundDense(flat.problem, options.softmaxScale, q, flat.heads, precision);
  return { kind: 'ok', value: { inputs, run, heads, bound } };
}
