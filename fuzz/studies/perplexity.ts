// perplexity.ts - question: how much perplexity does a cache of few bits cost a trained model?
//
// Design: corpus/code-lm, windows of 2,560 held-out tokens. The first 2,048 are the prefix whose K
// and V are quantised, the next 512 are scored while decode goes on through the append path
// (scored-windows.ts). Factors: K's axis (channel, token), group (128, 64, 32), widths of K and V
// (8, 4, 2, every pair). The base is the same pass with K and V in fp16; every row is a paired
// difference to it over the same windows, with a 95% interval from resampling windows (bootstrap).
//
// What would refute it: a base that is not the loss recorded with the model (1.69045 over 32
// windows); 8 bits that change perplexity by 0.002 or more (the quantiser would be wrong);
// intervals that include 0 for the differences that are claimed. What it cannot say: anything about
// a larger model, another language or longer contexts than 2,560 tokens.

import { type CacheConfig, configKey, kQuantizer, vQuantizer } from './cache-config.js';
import type { PerplexityValue } from './perplexity-task.js';
import { bitsPerValue } from './quantizer.js';
import type { Interval } from './statistics.js';
import type { PlannedTask } from './study-pool.js';

export const PERPLEXITY_SCHEMA = 'kvproof.study.perplexity/1';

export interface PerplexityBase {
  readonly nll: number;
  readonly ppl: number;
}

export interface PerplexityRow extends CacheConfig {
  /** Mean loss of a scored token, natural log. */
  readonly nll: number;
  readonly ppl: number;
  /** ppl - base.ppl. */
  readonly dppl: number;
  /** 95% interval of dppl; null with one window. */
  readonly dpplInterval: Interval | null;
  /** Mean of K and V, with scales and zeros, without the fp16 window. */
  readonly bitsPerValue: number;
}

export interface PerplexityTable {
  readonly base: PerplexityBase;
  readonly rows: readonly PerplexityRow[];
  readonly unsupported: readonly (CacheConfig & { reason: string })[];
  /** Scored tokens of each row. */
  readonly tokens: number;
}

export function perplexityKey(config: CacheConfig | null, window: number): string {
  return `${configKey(config)}@${window}`;
}

/** Every window of the base and of every config, the base first. */
export function perplexityTasks(configs: readonly CacheConfig[], windows: number): PlannedTask[] {
  return Array.from({ length: windows }, (_, window) =>
    [null, ...configs].map(
      (config): PlannedTask => ({
        key: perplexityKey(config, window),
        place: `window ${window}`,
        task: { study: 'perplexity', window, config },
      }),
    ),
  ).flat();
}

/** interval: of a statistic over resampled windows, given by the caller (statistics.ts). */
export function perplexityTable(
  configs: readonly CacheConfig[],
  windows: number,
  values: ReadonlyMap<string, unknown>,
  interval: (windows: number, statistic: (sample: readonly number[]) => number) => Interval | null,
): PerplexityTable {
  const valuesOf = (config: CacheConfig | null): PerplexityValue[] =>
    Array.from({ length: windows }, (_, window) => {
      const key = perplexityKey(config, window);
      const value = values.get(key);
      if (value === undefined) throw new Error(`no value for ${key}`);
      return value as PerplexityValue;
    });
  const all = Array.from({ length: windows }, (_, window) => window);
  const base = sums(valuesOf(null));
  const basePpl = Math.exp(meanLoss(base, all));
  const rows: PerplexityRow[] = [];
  const unsupported: (CacheConfig & { reason: string })[] = [];
  for (const config of configs) {
    const found = valuesOf(config);
    const without = found.find((value) => value.kind === 'unsupported');
    if (without?.kind === 'unsupported') {
      unsupported.push({ ...config, reason: without.reason });
      continue;
    }
    const own = sums(found);
    const nll = meanLoss(own, all);
    const difference = (sample: readonly number[]) =>
      Math.exp(meanLoss(own, sample)) - Math.exp(meanLoss(base, sample));
    rows.push({
      ...config,
      nll,
      ppl: Math.exp(nll),
      dppl: Math.exp(nll) - basePpl,
      dpplInterval: interval(windows, difference),
      bitsPerValue: (bitsPerValue(kQuantizer(config)) + bitsPerValue(vQuantizer(config))) / 2,
    });
  }
  const tokens = base.reduce((sum, window) => sum + window.tokens, 0);
  return { base: { nll: meanLoss(base, all), ppl: basePpl }, rows, unsupported, tokens };
}

interface WindowSum {
  readonly sum: number;
  readonly tokens: number;
}

function sums(values: readonly PerplexityValue[]): WindowSum[] {
  return values.map((value) => {
    if (value.kind !== 'nll') throw new Error(`a window without a loss: ${value.reason}`);
    return value;
  });
}

function meanLoss(windows: readonly WindowSum[], sample: readonly number[]): number {
  let sum = 0;
  let tokens = 0;
  for (const i of sample) {
    sum += windows[i].sum;
    tokens += windows[i].tokens;
  }
  return sum / tokens;
}
