// cache-config.ts - the caches that the perplexity study compares, as data: K's axis, the group,
// the widths of K and V. V is always quantised per token, groups along its channels.

import { type Axis, plainQuantizer, type Quantizer } from './quantizer.js';

export interface CacheConfig {
  readonly kAxis: Axis;
  /** Elements that share a scale, of K and of V. */
  readonly group: number;
  readonly kBits: number;
  readonly vBits: number;
}

export const AXES: readonly Axis[] = ['channel', 'token'];
export const GROUPS = [128, 64, 32] as const;
/** Widths of K with widths of V: every pair of 8, 4 and 2. */
export const BIT_PAIRS: readonly (readonly [number, number])[] = [8, 4, 2].flatMap((k) =>
  [8, 4, 2].map((v) => [k, v] as const),
);

/** Of `--quick`: equal widths. */
export const EQUAL_PAIRS = BIT_PAIRS.filter(([k, v]) => k === v);

export function configGrid(
  axes: readonly Axis[],
  groups: readonly number[],
  pairs: readonly (readonly [number, number])[],
): CacheConfig[] {
  return axes.flatMap((kAxis) =>
    groups.flatMap((group) => pairs.map(([kBits, vBits]) => ({ kAxis, group, kBits, vBits }))),
  );
}

export function kQuantizer({ kAxis, group, kBits }: CacheConfig): Quantizer {
  return plainQuantizer(kBits, kAxis, group);
}

export function vQuantizer({ group, vBits }: CacheConfig): Quantizer {
  return plainQuantizer(vBits, 'token', group);
}

/** "channel/128/4/2", and "base" for fp16. */
export function configKey(config: CacheConfig | null): string {
  if (config === null) return 'base';
  const { kAxis, group, kBits, vBits } = config;
  return `${kAxis}/${group}/${kBits}/${vBits}`;
}
