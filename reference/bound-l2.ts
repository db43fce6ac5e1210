/**
 * L2: where every element of output and lse of a kernel may lie that declares its schedule
 * (scheduled/schedule.ts). Nothing is estimated: the row is computed as the kernel computes it,
 * step by step in binary32, binary16 and the tensor core's sums (mma.ts), with intervals in place
 * of the exponentials. What is open, and what becomes of it:
 *
 *   exponential  ex2 may be any binary32 within ex2Error of 2^x, unless the schedule names a unit
 *                whose bits are known: then nothing below is open, and the range is one value
 *                (but for `flushed`). Scores have none before them, so they, their maxima and the
 *                arguments of all exponentials are known bit for bit
 *   rounding     P' is monotone in a weight: RN16 of both ends. They are equal, and the rounding is
 *                known, for all but about one weight in 2,000; the others stay open by one ulp
 *   sums         of weights, of weights times zeros, of lanes, warps and splits: binary32 rounding
 *                is monotone in both terms, so both ends are added as the kernel adds
 *   products     a fused sum of the tensor core: code-sums.ts, row-chain.ts
 *   rescale      exactly 1 while the maximum stays, else an exponential, whose two ends multiply
 *   merges       the same; numerator and denominator do not share what is open
 *   units        powers of two change nothing but f32 underflow, which `flushed` pays: below
 *                2^-64 of what the largest value is (bound.ts has the same term)
 *
 * Every step is monotone in its operands, so the ends contain whatever the kernel may get (interval
 * arithmetic with the kernel's own roundings in place of outward ones). The float64 operations here
 * are exact, or round once to binary32 as the kernel does (README.md, Notation).
 *
 * It stands beside L1 and not for it: the conditions under which nothing overflows are those of
 * bound.ts, whose guarded rows have no range here either (NaN).
 */
import type { Arithmetic } from './arithmetic.js';
import type { BoundResult } from './bound.js';
import { type HeadCache, oneQueryToken } from './cache.js';
import { type ElementType, elementRound, f64Array } from './format.js';
import { dotModel } from './mma.js';
import { elementType, type Problem, queriesPerKvHead } from './problem.js';
import { exactExponential, openExponential } from './scheduled/interval.js';
import { logSum, mergeSplits, mergeWarps, type Partial, quotient } from './scheduled/merge.js';
import { scaledQuery } from './scheduled/scaled-query.js';
import { dealParts, type RecordSchedule, warpCount } from './scheduled/schedule.js';
import { type Cores, partScores } from './scheduled/scores.js';
import {
  addPart,
  emptyWarp,
  type PartScratch,
  partScratch,
  partTiles,
  type WarpSums,
} from './scheduled/warp-sums.js';

/** Rows that L1 guards have NaN. */
export interface OutputRange {
  readonly type: ElementType;
  /** before the store, (requests, queryTokens, queryHeads, headSize) */
  readonly low: Float64Array;
  readonly high: Float64Array;
  /** (requests, queryTokens, queryHeads) */
  readonly lseLow: Float64Array;
  readonly lseHigh: Float64Array;
}

const flushed = 2 ** -64;

/** The tensor core that an arithmetic declares: exponents below its floor are those of mma.ts. */
function coresOf({ fraction, fusedProducts }: Arithmetic, schedule: RecordSchedule): Cores {
  const like = fraction === 25 ? 'sm_90' : 'sm_80';
  const exponential = schedule.exponential === 'sm_90' ? exactExponential : openExponential;
  return { core: { ...dotModel(like), fraction, fusedProducts }, exponential };
}

/**
 * Query rows over their head, part by part: a part's codes are laid out once for all rows. queries:
 * (rows)(headSize).
 */
function rangesOfRows(
  cores: Cores,
  head: HeadCache,
  scale: number,
  queries: readonly Float64Array[],
  plan: { readonly warps: number; readonly splits: number },
  scratch: PartScratch,
): Partial[] {
  const { headSize } = head;
  const rows = queries.map((q) => {
    return partScores(cores, scratch.fused, head, scaledQuery(scale, q, head.type));
  });
  const partials: Partial[][] = queries.map(() => []);
  for (const warps of dealParts(head, plan.warps, plan.splits)) {
    const states = queries.map((): WarpSums[] => []);
    for (const parts of warps) {
      for (const own of states) own.push(emptyWarp(head));
      for (const part of parts) {
        const tiles = partTiles(scratch, head, part);
        const scores = scratch.scores.subarray(0, part.end - part.first);
        for (const [row, own] of states.entries()) {
          rows[row](part, tiles.keys, scores);
          addPart(cores, head, own[own.length - 1], part, tiles, scores, scratch);
        }
      }
    }
    for (const [row, own] of states.entries()) {
      partials[row].push(mergeWarps(cores.exponential, own, headSize));
    }
  }
  return partials.map((own) => mergeSplits(cores.exponential, own, headSize));
}

function setRow(range: OutputRange, row: number, headSize: number, found: Partial): void {
  for (let d = 0; d < headSize; d++) {
    const { low, high } = quotient(found, d);
    range.low[row * headSize + d] = low - flushed;
    range.high[row * headSize + d] = high + flushed;
  }
  const { low, high } = logSum(found);
  range.lseLow[row] = low - flushed;
  range.lseHigh[row] = high + flushed;
}

/**
 * q: words, (requests, queryTokens, queryHeads, headSize); heads: (requests, kvHeads), the kernel's
 * own cache; splits: what the kernel cut requests into; l1: the bound of the same call. null: the
 * arithmetic declares no schedule for records of this size.
 */
export function boundL2(
  p: Problem,
  softmaxScale: number,
  q: Uint16Array,
  heads: readonly HeadCache[],
  arithmetic: Arithmetic,
  splits: number,
  l1: BoundResult,
): OutputRange | null {
  const { schedule, operands } = arithmetic;
  if (schedule === undefined || operands !== 'folded' || heads.length === 0) return null;
  const warps = warpCount(schedule, heads[0].scheme, p.headSize);
  if (warps === null) return null;
  const type = elementType(p);
  const flat = oneQueryToken(p, heads);
  const { headSize } = p;
  const queries = queriesPerKvHead(p);
  const values = f64Array(q, undefined, type);
  const cores = coresOf(arithmetic, schedule);
  const scratch = partScratch(cores.core, headSize);
  const [rows, elements] = [l1.lse.length, l1.output.length];
  const range = {
    type,
    low: new Float64Array(elements),
    high: new Float64Array(elements),
    lseLow: new Float64Array(rows),
    lseHigh: new Float64Array(rows),
  };
  for (const [index, head] of flat.heads.entries()) {
    const open: number[] = [];
    for (let row = index * queries; row < (index + 1) * queries; row++) {
      if (l1.guarded[row] !== 0) {
        const [from, to] = [row * headSize, (row + 1) * headSize];
        for (const x of [range.low, range.high]) x.fill(Number.NaN, from, to);
        range.lseLow[row] = range.lseHigh[row] = Number.NaN;
      } else if (head.tokens === 0) {
        range.lseLow[row] = range.lseHigh[row] = Number.NEGATIVE_INFINITY;
      } else {
        open.push(row);
      }
    }
    if (open.length === 0) continue;
    const own = open.map((row) => values.subarray(row * headSize, (row + 1) * headSize));
    const found = rangesOfRows(cores, head, softmaxScale, own, { warps, splits }, scratch);
    for (const [i, row] of open.entries()) setRow(range, row, headSize, found[i]);
  }
  return range;
}

/** Whether a stored value lies between the roundings of a range; NaN never does. */
export function inRange({ type, low, high }: OutputRange, index: number, stored: number): boolean {
  return stored >= elementRound(type, low[index]) && stored <= elementRound(type, high[index]);
}
