// What a distribution draws with: a row's coordinates, what its tensor tells it, and keys that
// depend on them (distributions.ts).

import { derive, type Key, word } from './generator.js';

/** One token of one head. For q: one query head of a request, position 0 of 1. */
export interface Row {
  readonly request: number;
  readonly head: number;
  readonly position: number;
  /** Tokens of the request. */
  readonly tokens: number;
}

/** What a tensor tells its rows. */
export interface Drawing {
  /** Key of the recipe's seed within its tensor. */
  readonly key: Key;
  /** Largest code of the scheme, 2^bits - 1. */
  readonly codeMax: number;
  /** Groups that share a scale run along tokens (K by channel) or along channels (V). */
  readonly groupsAlongTokens: boolean;
}

export type FillRow = (drawing: Drawing, row: Row, x: Float64Array /* (headSize) */) => void;

/** Every group size is a multiple of this, so what holds in a block of 32 holds in every group. */
export const BLOCK = 32;

export const rowKey = (key: Key, row: Row): Key =>
  derive(derive(derive(key, row.request), row.head), row.position);

/** Same for all requests and tokens of a head: for what belongs to channels. */
export const headKey = (key: Key, row: Row): Key => derive(derive(key, 0x68656164), row.head);

export const sign = (key: Key, index: number): number => (word(key, index) & 1 ? 1 : -1);

export function fill(x: Float64Array, value: (channel: number) => number): void {
  for (let channel = 0; channel < x.length; channel++) x[channel] = value(channel);
}
