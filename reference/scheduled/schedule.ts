/**
 * Schedule: in which order a folding kernel adds, as far as it decides the bits of a result.
 *
 * Arithmetic.operands "folded" says which numbers meet; a RecordSchedule says in which order:
 *
 *   split   the records of a request are cut into `splits` runs, run s from floor(n s / splits);
 *           the tail belongs to the last one
 *   part    a packed record; of format "fp16", records are cut into parts of 8 KiB of K
 *   warp    the parts of a split go to its warps in turn, the tail to the next one in turn; a warp
 *           takes its parts in order, after each the maximum and everything summed is brought up to
 *           date (warp-sums.ts)
 *   merge   the warps of a split in order, then the splits in order (merge.ts)
 *
 * Products go through the tensor core 16 at a time, channels (of a score) and tokens (of an output)
 * in their order, but for the rows of format "fp16", whose channels wideChannel permutes. Nothing
 * else may matter: not the page table, not other requests, not other heads.
 */
import type { HeadCache } from '../cache.js';
import { isPlain, recordTokens, type Scheme } from '../scheme.js';

export interface RecordSchedule {
  /** [bytes of the codes of K of a part, at most; warps of a block], by ascending bytes */
  readonly warps: readonly (readonly [number, number])[];
  /** Every exponential is ex2.approx.ftz.f32, by a unit known bit for bit (ex2-approx.ts). */
  readonly exponential?: 'sm_90';
}

/** Tokens [first, end) of a request that a warp takes at once and that the query row sees. */
export interface Part {
  readonly first: number;
  readonly end: number;
  readonly isTail: boolean;
}

const plainPartBytes = 8192;

/** Tokens of a part of the records of a scheme. */
export function partTokens(scheme: Scheme, headSize: number): number {
  return isPlain(scheme) ? plainPartBytes / (2 * headSize) : recordTokens;
}

/** Warps of a block; null: the schedule says nothing about records of this size. */
export function warpCount(
  { warps }: RecordSchedule,
  scheme: Scheme,
  headSize: number,
): number | null {
  const bytes = (partTokens(scheme, headSize) * headSize * scheme.bits) / 8;
  return warps.find(([most]) => bytes <= most)?.[1] ?? null;
}

/** Tokens of the request that lie in full records, also behind the end of a prefix (cache.ts). */
function recordedTokens(head: HeadCache): number {
  const rows = head.kResidual.length / head.headSize;
  if (isPlain(head.scheme)) return rows - (rows % recordTokens);
  return head.v.codes.length / head.headSize;
}

/**
 * The parts of each warp of each split that the row sees, (splits)(warps)(parts). What it does not
 * see weighs nothing and changes nothing.
 */
export function dealParts(head: HeadCache, warps: number, splits: number): Part[][][] {
  const { tokens, scheme, headSize } = head;
  const length = partTokens(scheme, headSize);
  const recorded = recordedTokens(head);
  const records = recorded / recordTokens;
  const firstOf = (split: number) => Math.floor((records * split) / splits) * recordTokens;
  return Array.from({ length: splits }, (_, split) => {
    const [from, to] = [firstOf(split), firstOf(split + 1)];
    const dealt: Part[][] = Array.from({ length: warps }, () => []);
    for (let first = from; first < Math.min(to, tokens); first += length) {
      const end = Math.min(first + length, tokens);
      dealt[((first - from) / length) % warps].push({ first, end, isTail: false });
    }
    if (split + 1 === splits && tokens > recorded) {
      dealt[((to - from) / length) % warps].push({ first: recorded, end: tokens, isTail: true });
    }
    return dealt;
  });
}

/**
 * The channel at place k of the products of a score over rows of format "fp16": a lane reads four
 * pairs of channels that lie together.
 */
export function wideChannel(k: number): number {
  const [eighth, pair] = [k >> 3, (k & 7) >> 1];
  return 2 * ((eighth >> 2) * 16 + pair * 4 + (eighth & 3)) + (k & 1);
}

/** log2 of what a code counts where it lies in its word, by its column (pack.ts): w. */
export function fieldWeight(bits: number, column: number): number {
  if (bits === 8) return 0;
  const upper = (column >> 3) & 1;
  return bits === 4 ? 4 * upper : 4 * ((column >> 4) & 1) + 2 * upper;
}
