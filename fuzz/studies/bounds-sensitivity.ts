// bounds-sensitivity.ts - which acceptance rules see a small mistake: for each perturbation and
// length, in how many of 40 rows a rule rejects the result.
//
// Inputs are normal, 4 bits, groups of 128, K per channel, 5 KV heads with 8 query heads each. The
// result of a right kernel is the middle of the range that its schedule leaves (bound-l2.ts, the
// schedule of sm_90, splits as on 132 multiprocessors); the perturbation is added to it and the sum
// is rounded to fp16 once. A row counts as moved if an element of it changes by an fp16 ulp or more
// of its own. The FlashAttention rule has one limit for the whole tensor, as in its tests.

import { keyOf, normal, word } from '../../properties/generator.js';
import { halfAttention } from '../../properties/half-attention.js';
import type { Arithmetic } from '../../reference/arithmetic.js';
import { admitsOutput, type BoundResult, boundL1 } from '../../reference/bound.js';
import { boundL2, inRange, type OutputRange } from '../../reference/bound-l2.js';
import {
  allRows,
  dequantized,
  type HeadCache,
  keyRows,
  readCache,
  referenceCache,
  valueRows,
} from '../../reference/cache.js';
import { exp2, log2e } from '../../reference/exp.js';
import { exponentOf, f16FromF64, f16Round, f16Values, f64Array } from '../../reference/format.js';
import type { Problem } from '../../reference/problem.js';
import type { Scheme } from '../../reference/scheme.js';
import { type ExactRow, perturbations } from './bounds-perturbations.js';

export const RULES = ['L1', 'L2', 'FlashAttention 2x', 'allclose 1e-2', 'allclose 1e-3'] as const;
export type RuleName = (typeof RULES)[number];

export interface Sensitivity {
  readonly tokens: number;
  readonly perturbation: string;
  readonly rows: number;
  /** Rows with an element that changes by an fp16 ulp or more. */
  readonly moved: number;
  /** Of those, the ones that L2 accepts. */
  readonly movedUnseen: number;
  readonly rejected: Readonly<Record<RuleName, number>>;
}

const HEAD_SIZE = 128;
const KV_HEADS = 5;
const HEADS_PER_KV = 8;
const BLOCKS = 264;
const FLASH_FLOOR = 1e-5;
const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 };
const arithmetic: Arithmetic = {
  ...{ operands: 'folded', fraction: 25, fusedProducts: 16, sumLanes: 8 },
  schedule: { warps: [[8192, 4]], exponential: 'sm_90' },
};

interface Made {
  readonly problem: Problem;
  readonly q: Uint16Array;
  readonly heads: readonly HeadCache[];
  readonly l1: BoundResult;
  readonly l2: OutputRange;
  /** Largest error of attention in fp16 without a fused kernel. */
  readonly half: number;
}

const softmaxScale = Math.fround(1 / Math.sqrt(HEAD_SIZE));

function make(tokens: number, seed: number): Made {
  const problem: Problem = {
    ...{ tokens: [tokens], queryHeads: KV_HEADS * HEADS_PER_KV, kvHeads: KV_HEADS },
    headSize: HEAD_SIZE,
  };
  const words = (count: number, stream: number) => {
    const key = keyOf(seed, stream);
    return Uint16Array.from({ length: count }, (_, i) => f16FromF64(normal(key, i)));
  };
  const q = words(problem.queryHeads * HEAD_SIZE, 1);
  const [k, v] = [2, 3].map((stream) => words(tokens * KV_HEADS * HEAD_SIZE, stream));
  const made = referenceCache(problem, scheme, k, v);
  const heads = readCache(problem, scheme, made.cache, made.kResidual, made.vResidual);
  const l1 = boundL1(problem, softmaxScale, q, heads, arithmetic);
  const splits = Math.max(1, Math.min(Math.floor(BLOCKS / KV_HEADS), Math.floor(tokens / 128)));
  const l2 = boundL2(problem, softmaxScale, q, heads, arithmetic, splits, l1);
  if (l2 === null) throw new Error('the schedule has no warps for its own records');
  const rows = {
    q,
    k: dequantized(problem, heads, keyRows),
    v: dequantized(problem, heads, valueRows),
  };
  const halves = halfAttention(problem, softmaxScale, rows);
  let half = 0;
  for (let i = 0; i < halves.length; i++) half = Math.max(half, Math.abs(halves[i] - l1.output[i]));
  return { problem, q, heads, l1, l2, half };
}

/** The rows of one KV head as the perturbations want them. */
function exactRows({ q, heads, l1 }: Made, kvHead: number, seed: number): ExactRow[] {
  const head = heads[kvHead];
  const { tokens } = head;
  const [keys, v] = [allRows(head, keyRows), allRows(head, valueRows)];
  const scales = new Float64Array(tokens).map((_, t) => f16Values[head.v.scales[t] ?? 0]);
  const codes = new Uint8Array(tokens * HEAD_SIZE);
  codes.set(head.v.codes);
  const outputOf = (row: number) => l1.output.subarray(row * HEAD_SIZE, (row + 1) * HEAD_SIZE);
  return Array.from({ length: HEADS_PER_KV }, (_, h) => {
    const row = kvHead * HEADS_PER_KV + h;
    const query = f64Array(q.subarray(row * HEAD_SIZE, (row + 1) * HEAD_SIZE));
    const scores = new Float64Array(tokens);
    for (let t = 0; t < tokens; t++) {
      let sum = 0;
      for (let d = 0; d < HEAD_SIZE; d++) sum += query[d] * keys[t * HEAD_SIZE + d];
      scores[t] = sum * softmaxScale * log2e;
    }
    const max = scores.reduce((m, x) => Math.max(m, x));
    const sum = scores.reduce((s, x) => s + exp2(x - max), 0);
    const key = keyOf(seed, 100 + row);
    let drawn = 0;
    return {
      ...{ tokens, headSize: HEAD_SIZE, scores, max, sum, v, codes, scales },
      output: outputOf(row),
      neighbour: outputOf(kvHead * HEADS_PER_KV + ((h + 1) % HEADS_PER_KV)),
      below: (n) => word(key, drawn++) % n,
    };
  });
}

const ulp = (x: number) => 2 ** (Math.max(exponentOf(x), -14) - 10);

/** Which rules reject the row, and whether it moved. */
function judge(made: Made, row: number, change: Float64Array) {
  const { l1, l2, half } = made;
  const rejected = new Set<RuleName>();
  let moved = false;
  for (let d = 0; d < HEAD_SIZE; d++) {
    const i = row * HEAD_SIZE + d;
    const right = (l2.low[i] + l2.high[i]) / 2;
    const found = f16Round(right + change[d]);
    const error = Math.abs(found - l1.output[i]);
    if (Math.abs(change[d]) >= ulp(right)) moved = true;
    if (!admitsOutput(l1, i, found)) rejected.add('L1');
    if (!inRange(l2, i, found)) rejected.add('L2');
    if (!(error <= 2 * half + FLASH_FLOOR)) rejected.add('FlashAttention 2x');
    const limit = 1 + Math.abs(l1.output[i]);
    if (!(error <= 1e-2 * limit)) rejected.add('allclose 1e-2');
    if (!(error <= 1e-3 * limit)) rejected.add('allclose 1e-3');
  }
  return { rejected, moved };
}

/** Every perturbation at one length. */
export function sensitivityAt(tokens: number, seed: number): Sensitivity[] {
  const made = make(tokens, seed);
  const counts = perturbations.map(() => ({
    moved: 0,
    movedUnseen: 0,
    rejected: Object.fromEntries(RULES.map((rule) => [rule, 0])) as Record<RuleName, number>,
  }));
  for (let kvHead = 0; kvHead < KV_HEADS; kvHead++) {
    exactRows(made, kvHead, seed).forEach((row, h) => {
      perturbations.forEach(({ change }, i) => {
        const { rejected, moved } = judge(made, kvHead * HEADS_PER_KV + h, change(row));
        if (moved) counts[i].moved++;
        if (moved && !rejected.has('L2')) counts[i].movedUnseen++;
        for (const rule of rejected) counts[i].rejected[rule]++;
      });
    });
  }
  return perturbations.map(({ name }, i) => {
    return { tokens, perturbation: name, rows: KV_HEADS * HEADS_PER_KV, ...counts[i] };
  });
}
