// Half-precision attention as a framework computes it without a fused kernel: every matrix product
// sums in float32 or better and is rounded to fp16, the softmax is rounded to fp16, and so is the
// result. FlashAttention's tests take the error of this computation as the measure of their own.
// It is a yardstick for other projects' rules and judges nothing here.

import { allRows, type HeadCache, keyRows, valueRows } from '../reference/cache.js';
import { exp2, log2e } from '../reference/exp.js';
import { f16Round, f64FromF16 } from '../reference/format.js';
import { type Problem, queriesPerKvHead } from '../reference/problem.js';

/** Output (requests, queryHeads, headSize). q: fp16 bits of the same shape. */
export function halfAttention(
  problem: Problem,
  softmaxScale: number,
  q: Uint16Array,
  heads: readonly HeadCache[], // (requests, kvHeads)
): Float64Array {
  const { tokens, queryHeads, kvHeads, headSize } = problem;
  const perHead = queriesPerKvHead(problem);
  const output = new Float64Array(tokens.length * queryHeads * headSize);
  for (let request = 0; request < tokens.length; request++) {
    for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
      const head = heads[request * kvHeads + kvHead];
      const k = allRows(head, keyRows).map(f16Round);
      const v = allRows(head, valueRows).map(f16Round);
      for (let i = 0; i < perHead; i++) {
        const row = request * queryHeads + kvHead * perHead + i;
        const query = Float64Array.from(q.subarray(row * headSize, (row + 1) * headSize), (bits) =>
          f16Round(f64FromF16(bits) * softmaxScale),
        );
        const weights = halfWeights(k, query, tokens[request]);
        output.set(weightedSum(v, weights, headSize), row * headSize);
      }
    }
  }
  return output;
}

function halfWeights(k: Float64Array, query: Float64Array, tokens: number): Float64Array {
  const { length } = query;
  const scores = new Float64Array(tokens);
  let maximum = Number.NEGATIVE_INFINITY;
  for (let t = 0; t < tokens; t++) {
    let sum = 0;
    for (let d = 0; d < length; d++) sum += query[d] * k[t * length + d];
    scores[t] = f16Round(sum);
    maximum = Math.max(maximum, scores[t]);
  }
  let total = 0;
  for (let t = 0; t < tokens; t++) {
    scores[t] = exp2((scores[t] - maximum) * log2e);
    total += scores[t];
  }
  return scores.map((weight) => f16Round(weight / total));
}

function weightedSum(v: Float64Array, weights: Float64Array, headSize: number): Float64Array {
  const sum = new Float64Array(headSize);
  for (let t = 0; t < weights.length; t++) {
    for (let d = 0; d < headSize; d++) sum[d] += weights[t] * v[t * headSize + d];
  }
  return sum.map(f16Round);
}
