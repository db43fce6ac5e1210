// Half-precision attention as a framework computes it without a fused kernel: every matrix product
// sums in float32 or better and is rounded to 16 bits, so is the softmax, and so is the result.
// FlashAttention's tests take the error of this computation as the measure of their own. It is a
// yardstick for other projects' rules and judges nothing here.

import { exp2, log2e } from '../reference/exp.js';
import { type ElementType, elementRound, elementValues } from '../reference/format.js';
import {
  elementType,
  firstTokens,
  type Problem,
  queriesPerKvHead,
  queryTokenCount,
  visibleTokens,
} from '../reference/problem.js';

interface Rows {
  readonly q: Uint16Array; // (requests, queryTokens, queryHeads, headSize)
  readonly k: Uint16Array; // (sum of tokens, kvHeads, headSize), dequantised
  readonly v: Uint16Array; // as k
}

/** Output (requests, queryTokens, queryHeads, headSize); all words of the problem's type. */
export function halfAttention(problem: Problem, softmaxScale: number, rows: Rows): Float64Array {
  const { tokens, queryHeads, kvHeads, headSize } = problem;
  const type = elementType(problem);
  const perHead = queriesPerKvHead(problem);
  const queryTokens = queryTokenCount(problem);
  const visible = visibleTokens(problem);
  const first = firstTokens(problem);
  const output = new Float64Array(tokens.length * queryTokens * queryHeads * headSize);
  const values = elementValues(type);
  const column = (x: Uint16Array, request: number, kvHead: number) =>
    Float64Array.from({ length: tokens[request] * headSize }, (_, i) => {
      const token = first[request] + Math.floor(i / headSize);
      return values[x[(token * kvHeads + kvHead) * headSize + (i % headSize)]];
    });
  for (let request = 0; request < tokens.length; request++) {
    for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
      const k = column(rows.k, request, kvHead);
      const v = column(rows.v, request, kvHead);
      for (let i = 0; i < queryTokens * perHead; i++) {
        const place = request * queryTokens + Math.floor(i / perHead);
        const row = place * queryHeads + kvHead * perHead + (i % perHead);
        const query = Float64Array.from(
          rows.q.subarray(row * headSize, (row + 1) * headSize),
          (bits) => elementRound(type, values[bits] * softmaxScale),
        );
        const weights = halfWeights(type, k, query, visible[place]);
        output.set(weightedSum(type, v, weights, headSize), row * headSize);
      }
    }
  }
  return output;
}

function halfWeights(
  type: ElementType,
  k: Float64Array,
  query: Float64Array,
  tokens: number,
): Float64Array {
  const { length } = query;
  const scores = new Float64Array(tokens);
  let maximum = Number.NEGATIVE_INFINITY;
  for (let t = 0; t < tokens; t++) {
    let sum = 0;
    for (let d = 0; d < length; d++) sum += query[d] * k[t * length + d];
    scores[t] = elementRound(type, sum);
    maximum = Math.max(maximum, scores[t]);
  }
  let total = 0;
  for (let t = 0; t < tokens; t++) {
    scores[t] = exp2((scores[t] - maximum) * log2e);
    total += scores[t];
  }
  return scores.map((weight) => elementRound(type, weight / total));
}

function weightedSum(
  type: ElementType,
  v: Float64Array,
  weights: Float64Array,
  headSize: number,
): Float64Array {
  const sum = new Float64Array(headSize);
  for (let t = 0; t < weights.length; t++) {
    for (let d = 0; d < headSize; d++) sum[d] += weights[t] * v[t * headSize + d];
  }
  return sum.map((x) => elementRound(type, x));
}
