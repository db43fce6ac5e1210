/**
 * Attention in float64 with the options of attention-options.ts: several query tokens, causal mask,
 * sliding window, sink tokens, softcap, sink logits. With none of them it gives the bits of attend.
 *
 * For a query q that sees the tokens j of J, with cap(s) = softcap tanh(s / softcap) or s itself:
 *   s_j = cap(scale * sum_i q_i k_ji)      M = max(max_j s_j, sink)      w_j = e^(s_j - M)
 *   L = sum_j w_j + e^(sink - M)           output = sum_j w_j v_j / L    lse = M + ln L
 * A token that is not seen is not read: NaN and Inf in it change nothing. A query that sees nothing
 * has output 0, and lse -Inf or its sink logit.
 *
 * Two passes over blocks of 128 tokens, as in attention.ts; visible scores of a query lie side by
 * side in `weights`. Scores of at most 2^24 (query, token) pairs are held at a time.
 */
import type { Attention } from './attention.js';
import {
  type AttentionOptions,
  optionsError,
  queryTokensOf,
  type TokenRange,
  visibleRanges,
} from './attention-options.js';
import type { AttentionRows } from './attention-rows.js';
import type { BlockMath } from './block-math.js';
import { blockTokens } from './block-rows.js';
import { openBlockMath } from './block-simd.js';
import { exp2, ln2, log2, log2e, tanh } from './exp.js';
import { type Problem, queriesPerKvHead } from './problem.js';

const pairsMax = 2 ** 24;

/** One query head of one query token. */
interface QueryRow {
  /** (headSize) */
  readonly q: Float64Array;
  readonly ranges: readonly TokenRange[];
  /** scores, then weights, of the visible tokens in order */
  readonly weights: Float64Array;
  /** base 2; -Infinity without */
  readonly sink: number;
  /** (headSize) */
  readonly output: Float64Array;
  /** where lse goes */
  readonly lse: Float64Array;
}

/**
 * Calls visit with each run of a block's tokens that a row sees, and where the run lies in weights.
 */
function eachRun(
  row: QueryRow,
  block: TokenRange,
  visit: (firstInBlock: number, weights: Float64Array) => void,
): void {
  let offset = 0;
  for (const { first, end } of row.ranges) {
    const from = Math.max(first, block.first);
    const to = Math.min(end, block.end);
    if (from < to) {
      const at = offset + from - first;
      visit(from - block.first, row.weights.subarray(at, at + to - from));
    }
    offset += end - first;
  }
}

/** Runs visit for every block that some row sees. */
function eachBlock(
  rows: readonly QueryRow[],
  tokens: number,
  visit: (b: TokenRange) => void,
): void {
  for (let first = 0; first < tokens; first += blockTokens) {
    const block = { first, end: Math.min(first + blockTokens, tokens) };
    const seen = (row: QueryRow) =>
      row.ranges.some((range) => range.first < block.end && range.end > block.first);
    if (rows.some(seen)) visit(block);
  }
}

/** Scores to base-2 exponents. */
function scaleScores(scores: Float64Array, scale: number, softcap: number | undefined): void {
  if (softcap === undefined) {
    for (let j = 0; j < scores.length; j++) scores[j] *= scale * log2e;
    return;
  }
  for (let j = 0; j < scores.length; j++) {
    scores[j] = log2e * softcap * tanh((scale * scores[j]) / softcap);
  }
}

/** Exponents to weights, in place; returns L and writes lse. */
function weighRow(row: QueryRow): number {
  const { weights, sink } = row;
  if (weights.length === 0) {
    row.lse[0] = ln2 * sink;
    return 1;
  }
  let max = sink;
  for (let j = 0; j < weights.length; j++) max = Math.max(max, weights[j]);
  let sum = exp2(sink - max);
  for (let j = 0; j < weights.length; j++) {
    weights[j] = exp2(weights[j] - max);
    sum += weights[j];
  }
  row.lse[0] = ln2 * (max + log2(sum));
  return sum;
}

/** Room for one block of tokens and one query row, in the memory of `math`. */
interface Scratch {
  readonly math: BlockMath;
  /** (headSize) each */
  readonly q: Float64Array;
  readonly sums: Float64Array;
  /** (blockTokens, headSize) */
  readonly block: Float64Array;
  /** scores or weights of a run, (blockTokens) */
  readonly run: Float64Array;
}

function scratch(headSize: number): Scratch {
  const math = openBlockMath(8 * ((2 + blockTokens) * headSize + blockTokens));
  const [q, sums] = [math.array(headSize), math.array(headSize)];
  const [block, run] = [math.array(blockTokens * headSize), math.array(blockTokens)];
  return { math, q, sums, block, run };
}

/** All of `rows` against one KV head. */
function attendRows(
  head: AttentionRows,
  rows: readonly QueryRow[],
  scale: number,
  softcap: number | undefined,
  { math, q, sums, block, run }: Scratch,
): void {
  const { tokens, headSize } = head;
  eachBlock(rows, tokens, (range) => {
    head.keys(range.first, range.end - range.first, block);
    for (const row of rows) {
      q.set(row.q);
      eachRun(row, range, (first, scores) => {
        const own = block.subarray(first * headSize);
        math.dot(own, scores.length, headSize, q, run, blockTokens);
        scores.set(run.subarray(0, scores.length));
      });
    }
  });
  const total = rows.map((row) => {
    scaleScores(row.weights, scale, softcap);
    return weighRow(row);
  });
  eachBlock(rows, tokens, (range) => {
    head.values(range.first, range.end - range.first, block);
    for (const row of rows) {
      sums.set(row.output);
      eachRun(row, range, (first, weights) => {
        run.set(weights);
        const own = block.subarray(first * headSize);
        math.addWeighted(own, weights.length, headSize, run, blockTokens, sums);
      });
      row.output.set(sums);
    }
  });
  rows.forEach((row, i) => {
    for (let d = 0; d < headSize; d++) row.output[d] /= total[i];
  });
}

function requireLength(name: string, found: number, required: number): void {
  if (found !== required) throw new RangeError(`${name}: length ${found}, ${required} is required`);
}

/**
 * q (sum of queryTokens, queryHeads, headSize); heads (requests, kvHeads). The result has q's rows:
 * output as q, lse (sum of queryTokens, queryHeads). softmaxScale is rounded to binary32, as a
 * kernel receives it; softcap likewise.
 */
export function attendWith(
  p: Problem,
  softmaxScale: number,
  q: Float64Array,
  heads: readonly AttentionRows[],
  options: AttentionOptions = {},
): Attention {
  const error = optionsError(p, options);
  if (error) throw new RangeError(error);
  const { queryHeads, kvHeads, headSize } = p;
  const counts = queryTokensOf(p, options);
  const queryRows = counts.reduce((a, b) => a + b, 0) * queryHeads;
  requireLength('q', q.length, queryRows * headSize);
  requireLength('heads', heads.length, p.tokens.length * kvHeads);
  const output = new Float64Array(q.length);
  const lse = new Float64Array(queryRows);
  const scale = Math.fround(softmaxScale);
  const softcap = options.softcap === undefined ? undefined : Math.fround(options.softcap);
  const room = scratch(headSize);
  const perHead = queriesPerKvHead(p);
  let firstQuery = 0;
  for (const [r, tokens] of p.tokens.entries()) {
    const rowOf = (i: number, queryHead: number): QueryRow => {
      const index = (firstQuery + i) * queryHeads + queryHead;
      const elements = [index * headSize, (index + 1) * headSize] as const;
      const ranges = visibleRanges(options, tokens - counts[r] + i, tokens);
      const count = ranges.reduce((sum, range) => sum + range.end - range.first, 0);
      return {
        q: q.subarray(...elements),
        ranges,
        weights: new Float64Array(count),
        sink: log2e * (options.sinkLogits?.[queryHead] ?? Number.NEGATIVE_INFINITY),
        output: output.subarray(...elements),
        lse: lse.subarray(index, index + 1),
      };
    };
    const chunk = Math.max(1, Math.floor(pairsMax / (perHead * Math.max(1, tokens))));
    for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
      const head = heads[r * kvHeads + kvHead];
      requireLength(`heads[${r * kvHeads + kvHead}].tokens`, head.tokens, tokens);
      for (let from = 0; from < counts[r]; from += chunk) {
        const rows: QueryRow[] = [];
        for (let i = from; i < Math.min(from + chunk, counts[r]); i++) {
          for (let h = 0; h < perHead; h++) rows.push(rowOf(i, kvHead * perHead + h));
        }
        attendRows(head, rows, scale, softcap, room);
      }
    }
    firstQuery += counts[r];
  }
  return { output, lse };
}
