/**
 * AttentionOptions: what public kernels add to plain decode attention, as data; what is wrong with
 * them; and which tokens a query token sees.
 *
 * Query token i of a request with n of them sits at position tokens - n + i: the queries are the
 * last tokens ("bottom right" alignment, as FlashAttention, FlashInfer and vLLM have it). If n
 * exceeds the tokens, the first positions are negative; under a causal mask they see nothing.
 *
 * The token at position j is visible to the query at position p if
 *   p - windowLeft <= j <= p + windowRight (0 if causal), or
 *   j < sinkTokens and j <= p + windowRight
 * so that a sliding window can keep the first tokens (StreamingLLM) and sink tokens stay causal.
 */
import { type Problem, problemError, queryTokenCount } from './problem.js';

export interface AttentionOptions {
  /** query tokens of each request, (requests); default problem.queryTokens each */
  readonly queryTokens?: readonly number[];
  /** no query token sees a later one */
  readonly causal?: boolean;
  /** tokens before its own that a query token sees; default all */
  readonly windowLeft?: number;
  /** tokens after its own that a query token sees; default all, or none if causal */
  readonly windowRight?: number;
  /** first tokens of a request that stay visible beyond windowLeft; default 0 */
  readonly sinkTokens?: number;
  /** a score s becomes softcap tanh(s / softcap), after the scale and before the softmax */
  readonly softcap?: number;
  /** a logit beside the scores that takes weight and has no value, (queryHeads); natural units */
  readonly sinkLogits?: readonly number[];
}

function wholeError(name: string, value: number | undefined): string | null {
  if (value === undefined || (Number.isInteger(value) && value >= 0)) return null;
  return `options.${name}: ${value} is not a whole number of tokens`;
}

/** What is wrong with options for a problem, in one sentence, or null. */
export function optionsError(p: Problem, o: AttentionOptions): string | null {
  const plain =
    problemError(p) ??
    wholeError('windowLeft', o.windowLeft) ??
    wholeError('windowRight', o.windowRight) ??
    wholeError('sinkTokens', o.sinkTokens);
  if (plain) return plain;
  if (o.causal && o.windowRight !== undefined && o.windowRight !== 0) {
    return `options.windowRight: ${o.windowRight} contradicts options.causal, which requires 0`;
  }
  const requests = p.tokens.length;
  if (o.queryTokens !== undefined) {
    if (o.queryTokens.length !== requests) {
      return `options.queryTokens: ${o.queryTokens.length} entries for ${requests} requests`;
    }
    for (const [r, count] of o.queryTokens.entries()) {
      const error = wholeError(`queryTokens[${r}]`, count);
      if (error) return error;
    }
  }
  if (o.softcap !== undefined && !(o.softcap > 0 && Number.isFinite(o.softcap))) {
    return `options.softcap: ${o.softcap} is not a positive finite number`;
  }
  if (o.sinkLogits === undefined) return null;
  if (o.sinkLogits.length !== p.queryHeads) {
    return `options.sinkLogits: ${o.sinkLogits.length} entries for ${p.queryHeads} query heads`;
  }
  const stray = o.sinkLogits.findIndex((x) => Number.isNaN(x) || x === Number.POSITIVE_INFINITY);
  if (stray < 0) return null;
  return `options.sinkLogits[${stray}]: ${o.sinkLogits[stray]} is not a finite number or -Infinity`;
}

/** Query tokens of each request. */
export function queryTokensOf(p: Problem, o: AttentionOptions): readonly number[] {
  return o.queryTokens ?? p.tokens.map(() => queryTokenCount(p));
}

/** Tokens [first, end). */
export interface TokenRange {
  readonly first: number;
  readonly end: number;
}

/** The tokens that a query at `position` sees of `tokens` tokens: at most two ranges, in order. */
export function visibleRanges(
  o: AttentionOptions,
  position: number,
  tokens: number,
): readonly TokenRange[] {
  const right = o.causal ? 0 : (o.windowRight ?? Number.POSITIVE_INFINITY);
  const end = Math.max(0, Math.min(tokens, position + right + 1));
  const left = o.windowLeft ?? Number.POSITIVE_INFINITY;
  const first = Math.min(Math.max(0, position - left), end);
  const sinkEnd = Math.min(o.sinkTokens ?? 0, end);
  if (sinkEnd >= first) return end > 0 ? [{ first: 0, end }] : [];
  const sink = { first: 0, end: sinkEnd };
  const window = { first, end };
  return [sink, window].filter((range) => range.end > range.first);
}
