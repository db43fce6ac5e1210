/**
 * Inputs that push a bound: one KV head and one query row of a named kind. Each kind aims at a
 * term.
 */
import { type HeadCache, readCache, referenceCache } from '../cache.js';
import { type ElementType, elementFromF64, f16FromF64, powerOfTwo } from '../format.js';
import type { Problem } from '../problem.js';
import type { Scheme } from '../scheme.js';
import type { Draw } from './draw.js';

export interface Attack {
  readonly problem: Problem;
  readonly head: HeadCache;
  readonly softmaxScale: number;
  /** words, (headSize) */
  readonly q: Uint16Array;
}

/** Values of token t and channel d before they are rounded to fp16. */
interface Recipe {
  readonly q: (d: number) => number;
  readonly k: (t: number, d: number) => number;
  readonly v: (t: number, d: number) => number;
  readonly scale?: number;
}

export const kinds = [
  'ordinary',
  'outlier channel',
  'near overflow',
  'subnormal',
  'tiny query',
  'constant groups',
  'sink',
  'cancellation',
  'offset values',
  'repeated tokens',
  'wide values',
  'zero query',
  'sharp',
  'rising scores',
  'one-sided',
  'arbitrary parameters',
] as const;
export type Kind = (typeof kinds)[number];

function recipe(kind: Kind, draw: Draw, tokens: number, size: number): Recipe {
  const n = () => draw.normal();
  const normal: Recipe = { q: n, k: n, v: n };
  const sink = draw.below(Math.max(tokens, 1));
  const channel = draw.below(size);
  const query = Array.from({ length: size }, n);
  const rows = Array.from({ length: 3 * size }, n);
  const spread = Array.from({ length: tokens }, () => powerOfTwo(draw.below(34) - 20));
  switch (kind) {
    case 'ordinary':
    case 'arbitrary parameters':
      return normal;
    case 'outlier channel':
      return { ...normal, k: (_, d) => (d === channel ? 60 : 1) * n() };
    case 'near overflow':
      return { q: n, k: n, v: (t) => (t % 2 ? 65504 : -65504) * draw.unit() };
    case 'subnormal':
      return { q: n, k: () => n() * 2 ** -21, v: () => n() * 2 ** -21, scale: 2 ** 14 };
    case 'tiny query':
      return { ...normal, q: () => n() * 2 ** -20, scale: 2 ** 14 };
    case 'constant groups':
      return { q: n, k: (_, d) => rows[d], v: (t) => rows[t % size] };
    case 'sink':
      return { ...normal, q: (d) => query[d], k: (t, d) => (t === sink ? query[d] : n()) };
    case 'cancellation':
      return {
        q: (d) => (d % 2 ? -1 : 1) * (3 + query[d >> 1] / 16),
        k: (t, d) => 4 + rows[(t % 3) * size + (d >> 1)] + n() / 64,
        v: (t) => (t % 2 ? 3 : -3) + n() / 64,
      };
    case 'offset values':
      return { ...normal, v: () => 1000 + n() };
    case 'repeated tokens':
      return { ...normal, k: (t, d) => rows[(t % 3) * size + d], v: (t) => rows[t % 3] };
    case 'wide values':
      return { ...normal, k: (t) => n() * spread[t] ** 0.25, v: (t) => n() * spread[t] };
    case 'zero query':
      return { ...normal, q: () => 0 };
    case 'sharp':
      return { ...normal, q: () => 4 * n() };
    case 'rising scores':
      return { ...normal, q: (d) => query[d], k: (t, d) => query[d] * (t / 64) + n() / 4 };
    case 'one-sided':
      return { q: () => 1 + draw.unit(), k: () => 8 * draw.unit(), v: () => 1 + draw.unit() };
  }
}

/** Replaces parameters by arbitrary finite ones: caches that no quantiser writes. */
function arbitraryParameters(head: HeadCache, draw: Draw): void {
  for (const { scales, zeros } of [head.k, head.v]) {
    for (let i = 0; i < scales.length; i++) {
      scales[i] = f16FromF64(draw.unit() * powerOfTwo(draw.below(12) - 10));
      zeros[i] = f16FromF64(draw.normal() * powerOfTwo(draw.below(12) - 10));
    }
  }
}

export interface AttackShape {
  readonly headSize: number;
  readonly type: ElementType;
}

export function attack(
  kind: Kind,
  scheme: Scheme,
  tokens: number,
  draw: Draw,
  { headSize: size, type }: AttackShape = { headSize: 128, type: 'fp16' },
): Attack {
  const problem: Problem = { tokens: [tokens], queryHeads: 1, kvHeads: 1, headSize: size, type };
  const { q, k, v, scale } = recipe(kind, draw, tokens, size);
  const max = type === 'bf16' ? 65280 : 65504; // fp16 parameters hold no more
  const fill = (f: (t: number, d: number) => number) =>
    Uint16Array.from({ length: tokens * size }, (_, i) => {
      const value = f(Math.floor(i / size), i % size);
      return elementFromF64(type, Math.min(Math.max(value, -max), max));
    });
  const built = referenceCache(problem, scheme, fill(k), fill(v));
  const [head] = readCache(problem, scheme, built.cache, built.kResidual, built.vResidual);
  if (kind === 'arbitrary parameters') arbitraryParameters(head, draw);
  return {
    problem,
    head,
    softmaxScale: Math.fround((scale ?? 1) / Math.sqrt(size)),
    q: Uint16Array.from({ length: size }, (_, d) => elementFromF64(type, q(d))),
  };
}
