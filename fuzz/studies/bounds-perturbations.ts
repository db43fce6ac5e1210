// bounds-perturbations.ts - ten ways to be wrong, as what each changes in one output row.
//
// In float64, over the exact weights of the row: a right kernel that makes this one mistake gives
// its own right result plus this difference (to first order in its own roundings). Which token,
// channel or group is hit is drawn.

import { exp2 } from '../../reference/exp.js';
import { bf16FromF64, bf16Values, f16Round } from '../../reference/format.js';

export interface ExactRow {
  readonly tokens: number;
  readonly headSize: number;
  /** base-2 exponents, (tokens) */
  readonly scores: Float64Array;
  /** of the largest score */
  readonly max: number;
  /** sum of 2^(score - max) */
  readonly sum: number;
  /** (tokens, headSize) */
  readonly v: Float64Array;
  /** codes of V (tokens, headSize), and scale and zero of each token */
  readonly codes: Uint8Array;
  readonly scales: Float64Array;
  /** exact output of this row and of the next query head, (headSize) */
  readonly output: Float64Array;
  readonly neighbour: Float64Array;
  /** A number below n. */
  below(n: number): number;
}

export interface Perturbation {
  readonly name: string;
  /** What is added to the output, (headSize). */
  change(row: ExactRow): Float64Array;
}

const weightOf = ({ scores, max, sum }: ExactRow, t: number) => exp2(scores[t] - max) / sum;
const values = ({ v, headSize }: ExactRow, t: number) =>
  v.subarray(t * headSize, (t + 1) * headSize);

/** The weight of token t times `factor`: the others shrink or grow. */
function reweighed(row: ExactRow, t: number, factor: number): Float64Array {
  const more = weightOf(row, t) * (factor - 1);
  const own = values(row, t);
  return row.output.map((o, d) => (more / (1 + more)) * (own[d] - o));
}

/** sum of weight(p_j) v_j / L less the output, p_j relative to the largest. */
function withWeights(row: ExactRow, weight: (p: number) => number): Float64Array {
  const { tokens, headSize, scores, max, sum } = row;
  const change = new Float64Array(headSize);
  for (let t = 0; t < tokens; t++) {
    const p = exp2(scores[t] - max);
    const off = (weight(p) - p) / sum;
    const own = values(row, t);
    for (let d = 0; d < headSize; d++) change[d] += off * own[d];
  }
  return change;
}

/** Outputs before the last record that raised the maximum keep their old unit. */
function missingRescale(row: ExactRow): Float64Array {
  const { tokens, headSize, scores, max, sum } = row;
  let before = Number.NEGATIVE_INFINITY;
  let largest = Number.NEGATIVE_INFINITY;
  let end = 0;
  for (let first = 0; first < tokens; first += 128) {
    const own = scores.subarray(first, first + 128).reduce((m, x) => Math.max(m, x));
    if (first > 0 && own > largest) [before, end] = [largest, first];
    largest = Math.max(largest, own);
  }
  const change = new Float64Array(headSize);
  if (end === 0) return change; // one record: there is nothing to rescale
  const more = exp2(max - before) - 1;
  for (let t = 0; t < end; t++) {
    const off = (exp2(scores[t] - max) * more) / sum;
    const own = values(row, t);
    for (let d = 0; d < headSize; d++) change[d] += off * own[d];
  }
  return change;
}

/** The output summed in fp16, 16 tokens at a time. */
function halfAccumulators(row: ExactRow): Float64Array {
  const { tokens, headSize, scores, max, sum, output } = row;
  const all = new Float64Array(headSize);
  const step = new Float64Array(headSize);
  for (let first = 0; first < tokens; first += 16) {
    step.fill(0);
    for (let t = first; t < Math.min(first + 16, tokens); t++) {
      const p = exp2(scores[t] - max);
      const own = values(row, t);
      for (let d = 0; d < headSize; d++) step[d] += p * own[d];
    }
    for (let d = 0; d < headSize; d++) all[d] = f16Round(all[d] + step[d]);
  }
  return all.map((x, d) => x / sum - output[d]);
}

function inOneChannel(row: ExactRow, change: (t: number, d: number) => number): Float64Array {
  const out = new Float64Array(row.headSize);
  const [t, d] = [row.below(row.tokens - 1), row.below(row.headSize)];
  out[d] = change(t, d);
  return out;
}

export const perturbations: readonly Perturbation[] = [
  { name: 'none', change: (row) => new Float64Array(row.headSize) },
  { name: 'dropped key', change: (row) => reweighed(row, row.below(row.tokens), 0) },
  { name: 'duplicated key', change: (row) => reweighed(row, row.below(row.tokens), 2) },
  {
    name: 'two V entries swapped',
    change: (row) =>
      inOneChannel(row, (t, d) => {
        const [a, b] = [weightOf(row, t), weightOf(row, t + 1)];
        return (a - b) * (values(row, t + 1)[d] - values(row, t)[d]);
      }),
  },
  {
    name: 'one score off by 1 %',
    change(row) {
      const t = row.below(row.tokens);
      return reweighed(row, t, exp2(0.01 * row.scores[t]));
    },
  },
  {
    name: 'one V code off by one',
    change: (row) => inOneChannel(row, (t) => weightOf(row, t) * row.scales[t]),
  },
  {
    name: "a V scale of the next token's",
    change(row) {
      const t = row.below(row.tokens - 1);
      const off = weightOf(row, t) * (row.scales[t + 1] - row.scales[t]);
      const codes = row.codes.subarray(t * row.headSize, (t + 1) * row.headSize);
      return Float64Array.from(codes, (code) => off * code);
    },
  },
  { name: 'wrong head', change: (row) => row.neighbour.map((x, d) => x - row.output[d]) },
  {
    name: 'P rounded to bf16',
    change: (row) => withWeights(row, (p) => bf16Values[bf16FromF64(p)]),
  },
  { name: 'missing rescale', change: missingRescale },
  { name: 'accumulators in fp16', change: halfAccumulators },
];
