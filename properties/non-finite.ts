// Distributions with values that are no finite numbers: single ones, groups and rows, last tokens.

import { BLOCK, type Drawing, fill, type Row, rowKey } from './drawing.js';
import { derive, normal, word } from './generator.js';

const NON_FINITE = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];

/**
 * Lines are cut into runs of 32, 64, 128 or 256 elements. Few runs hold nothing but NaN, nothing
 * but one infinity, or infinities of both signs; the others are normal. Lines go along the axis of
 * the groups, and in a quarter of the heads across it. Half of the heads have so few such runs that
 * most groups of tokens have none.
 */
export function nonFiniteGroups(drawing: Drawing, row: Row, x: Float64Array): void {
  const key = rowKey(drawing.key, row);
  const head = derive(derive(derive(drawing.key, row.request), row.head), 0x72756e73);
  const kind = word(head, 0);
  const others = kind & 1 ? 511 : 15;
  const alongTokens = drawing.groupsAlongTokens !== ((kind & 6) === 0);
  fill(x, (channel) => {
    const line = derive(head, alongTokens ? channel : row.position);
    const run = BLOCK << (word(line, 0) & 3);
    const w = word(line, 1 + Math.floor((alongTokens ? row.position : channel) / run));
    if ((w & others) !== 0) return normal(key, channel);
    return NON_FINITE[(w >>> 10) & 3] ?? NON_FINITE[1 + (word(key, channel) & 1)];
  });
}

/**
 * Normal but for the last tokens of a request, one to four of them, which hold NaN or infinities,
 * throughout or in about one channel in 16.
 */
export function nonFiniteLast(drawing: Drawing, row: Row, x: Float64Array): void {
  const key = rowKey(drawing.key, row);
  const head = derive(derive(derive(drawing.key, row.request), row.head), 0x6c617374);
  const w = word(head, 0);
  const isLast = row.position + 1 + (w & 3) >= row.tokens;
  fill(x, (channel) => {
    const isHit = isLast && ((w & 4) === 0 || (word(head, 1 + channel) & 15) === 0);
    return isHit ? NON_FINITE[(w >>> 3) % 3] : normal(key, channel);
  });
}

/** Normal with about one element in 1024 NaN, +Inf or -Inf. */
export function nonFinite(d: Drawing, r: Row, x: Float64Array): void {
  const key = rowKey(d.key, r);
  fill(x, (channel) => {
    const w = word(key, 0x10000 + channel);
    return (w & 1023) === 0 ? NON_FINITE[(w >>> 10) % 3] : normal(key, channel);
  });
}
