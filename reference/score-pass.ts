/**
 * First pass of the bound: exact scores, shadow scores and score errors of all tokens and queries
 * of one KV head, as base-2 exponents t = c q.k with c = softmaxScale log2 e.
 *
 * error_j = |c| (terms of score-bound.ts + 4 u magnitude_j). The 4 u: the rounded c (1.22 u: log2 e
 * to f32 and the product), the products with it, their sum; a kernel that multiplies by the scale
 * and by log2 e one after the other needs one more. K per token adds 4 u for the roundings of a
 * group, one for each group that is added, and one for their second orders. 2^-44 pays this file's
 * own float64 sums, and bf16 rows get 2^-50 on top: below that lie scores whose factors leave the
 * normal numbers of f32.
 */
import { type KnownArithmetic, normalMin, u } from './arithmetic.js';
import { dotRows } from './attention.js';
import { type HeadCache, keyRows } from './cache.js';
import { exponentOf, f16Values, f64Array } from './format.js';
import { channelGroupTerms, dequantizedGroup, foldedGroup, type GroupTerms } from './key-groups.js';
import { channelGroup } from './scheme.js';
import { plainChainError, type Query, queryOf } from './score-bound.js';
import { alignedMagnitudes, keyShadow, type Scratch } from './shadow-rows.js';

/** Base-2 exponents, each (queries, tokens). */
export interface Scores {
  readonly exact: Float64Array;
  readonly shadow: Float64Array;
  readonly error: Float64Array;
}

const scaleError = 4 * u + 2 ** -44;
const bf16Floor = 2 ** -50;

/** Tokens [first, first + count) of one block, (count, headSize) each. */
interface Block {
  readonly first: number;
  readonly count: number;
  readonly rows: Float64Array;
  /** of packed tokens: keyShadow */
  readonly shadowRows: Float64Array;
  /** where products are plain: magnitudes of the keys that are multiplied */
  readonly magnitudes: Float64Array;
}

/** Scores of one query and block, in units of q.k: exact is given, the others are set. */
interface BlockScores {
  readonly shadow: Float64Array;
  readonly error: Float64Array;
}

type ScoreBlock = (query: Query, block: Block, scores: BlockScores) => void;

/** Parameters of one token group of K in float64. */
interface GroupParameters {
  readonly scales: Float64Array;
  readonly zeros: Float64Array;
  readonly scaleExponent: number;
}

function groupParameters(head: HeadCache, first: number): GroupParameters {
  const { headSize, k } = head;
  const from = Math.floor(first / head.scheme.group) * headSize;
  const values = (x: Uint16Array) => f64Array(x.subarray(from, from + headSize));
  const scales = values(k.scales);
  let max = 0;
  for (const scale of scales) max = Math.max(max, scale);
  return { scales, zeros: values(k.zeros), scaleExponent: Math.max(exponentOf(max), -24) };
}

/** K per channel: group by group of tokens. */
function perChannel(a: KnownArithmetic, head: HeadCache, block: Block): ScoreBlock {
  const { group, bits } = head.scheme;
  const size = head.headSize;
  const parameters: GroupParameters[] = [];
  for (let t = 0; t < block.count; t += group) {
    parameters.push(groupParameters(head, block.first + t));
  }
  const weights = new Float64Array(size);
  const moved = new Float64Array(128);
  return (query, { count, shadowRows }, { shadow, error }) => {
    parameters.forEach(({ scales, zeros, scaleExponent }, i) => {
      const from = i * group;
      const own = Math.min(group, count - from);
      let terms: GroupTerms;
      if (a.operands === 'folded') {
        terms = foldedGroup(a, query, scales, scaleExponent, zeros, bits, weights);
      } else {
        terms = dequantizedGroup(a, query, scales, zeros, bits);
        weights.set(query.q);
      }
      dotRows(shadowRows.subarray(from * size), weights, moved, own, size);
      for (let t = 0; t < own; t++) {
        shadow[from + t] += moved[t];
        error[from + t] = terms.error + scaleError * terms.magnitude;
      }
    });
  };
}

/** K per token, folded: group by group of channels; nothing is known to be shifted. */
function perToken(a: KnownArithmetic, head: HeadCache): ScoreBlock {
  const { headSize, k } = head;
  const { bits } = head.scheme;
  const group = channelGroup(head.scheme, headSize);
  const groups = headSize / group;
  const codeMax = 2 ** bits - 1;
  const rounding = scaleError + (5 + groups) * u;
  return (query, { first, count }, { error }) => {
    for (let g = 0; g < groups; g++) {
      const terms = channelGroupTerms(a, query, g * group, (g + 1) * group, bits);
      const { codeError, zeroError, codeSum, zeroSum, lost } = terms;
      for (let t = 0; t < count; t++) {
        const at = (first + t) * groups + g;
        const scale = f16Values[k.scales[at]];
        const zero = Math.abs(f16Values[k.zeros[at]]);
        const magnitude = scale * codeSum + zero * zeroSum;
        error[t] +=
          scale * codeError +
          zero * zeroError +
          rounding * magnitude +
          lost * (zero + codeMax * scale);
      }
    }
  };
}

/** Plain products of q and keys: of the tail, or of a dequantising kernel with K per token. */
function plainProducts(a: KnownArithmetic): ScoreBlock {
  return (query, { count, magnitudes }, { error }) => {
    const size = query.q.length;
    dotRows(magnitudes, query.magnitudes, error, count, size);
    for (let t = 0; t < count; t++) {
      error[t] = plainChainError(a, size, error[t]) + scaleError * error[t];
    }
  };
}

function roundedPerToken(a: KnownArithmetic): ScoreBlock {
  const plain = plainProducts(a);
  const moved = new Float64Array(128);
  return (query, block, scores) => {
    const { count, shadowRows } = block;
    dotRows(shadowRows, query.q, moved, count, query.q.length);
    for (let t = 0; t < count; t++) scores.shadow[t] += moved[t];
    plain(query, block, scores);
  };
}

/** Reads a block into scratch and says how its scores are bounded. */
function readBlock(
  a: KnownArithmetic,
  head: HeadCache,
  first: number,
  scratch: Scratch,
): { block: Block; score: ScoreBlock } {
  const { headSize, tokens, packed, type } = head;
  const end = first < packed ? packed : tokens;
  const count = Math.min(128, end - first);
  const part = (x: Float64Array) => x.subarray(0, count * headSize);
  const rows = part(keyRows(head, first, count, scratch.rows));
  const [shadowRows, magnitudes] = [part(scratch.shadowRows), part(scratch.magnitudes)];
  const block: Block = { first, count, rows, shadowRows, magnitudes };
  if (first >= packed) {
    alignedMagnitudes(rows, magnitudes, normalMin(type));
    return { block, score: plainProducts(a) };
  }
  const isPerToken = head.scheme.kAxis === 'token';
  if (isPerToken && a.operands === 'folded') return { block, score: perToken(a, head) };
  keyShadow(a.operands, head, first, rows, shadowRows);
  if (!isPerToken) return { block, score: perChannel(a, head, block) };
  for (let i = 0; i < rows.length; i++) magnitudes[i] = rows[i] + shadowRows[i];
  alignedMagnitudes(magnitudes, magnitudes, normalMin(type));
  return { block, score: roundedPerToken(a) };
}

/** q (queries, headSize); factor: c. */
export function scoreHead(
  a: KnownArithmetic,
  head: HeadCache,
  factor: number,
  q: Float64Array,
  scratch: Scratch,
): Scores {
  const { headSize, tokens, type } = head;
  const queries = Array.from({ length: q.length / headSize }, (_, h) => {
    const own = q.subarray(h * headSize, (h + 1) * headSize);
    const magnitudes = new Float64Array(headSize);
    alignedMagnitudes(own, magnitudes, normalMin(type));
    return queryOf(own, type, magnitudes);
  });
  const length = queries.length * tokens;
  const scores: Scores = {
    exact: new Float64Array(length),
    shadow: new Float64Array(length),
    error: new Float64Array(length),
  };
  for (let first = 0; first < tokens; ) {
    const { block, score } = readBlock(a, head, first, scratch);
    queries.forEach((query, h) => {
      const at = h * tokens + first;
      const [exact, shadow, error] = [scores.exact, scores.shadow, scores.error].map((x) =>
        x.subarray(at, at + block.count),
      );
      dotRows(block.rows, query.q, exact, block.count, headSize);
      shadow.set(exact);
      score(query, block, { shadow, error });
    });
    first += block.count;
  }
  const floor = type === 'bf16' ? bf16Floor : 0;
  for (let i = 0; i < length; i++) {
    scores.exact[i] *= factor;
    scores.shadow[i] *= factor;
    scores.error[i] = scores.error[i] * Math.abs(factor) + floor;
  }
  return scores;
}
