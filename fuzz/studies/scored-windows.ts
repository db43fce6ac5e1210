// scored-windows.ts - the protocol of the perplexity study: which tokens are read, which are
// scored, and what stays the same between two caches.
//
// Window i starts at evaluation token i (prefix + scored). Its prefix runs through the model with K
// and V in fp16, once; the prefix's K and V are what every cache of the study is made of. Then the
// scored tokens run through the model with the attention of the cache under study, each seeing its
// predecessors through that cache, teacher-forced: a pass over all of them at once gives the same
// numbers as one step after the other, because token t's keys and values depend on earlier tokens
// only. The target of position t is token t + 1.

import { join } from 'node:path';
import { f16FromF64, f16Values } from '../../reference/format.js';
import { SafetensorsFile } from '../campaign/safetensors.js';
import { attentionFloats, BlockedAttention } from './blocked-attention.js';
import { CodeLmModel, type LayerAttention, MODEL } from './code-lm-model.js';
import { type FloatArena, roundUp } from './wasm-matmul.js';

export interface Protocol {
  readonly prefixTokens: number;
  readonly scoredTokens: number;
}

/** As in corpus/code-lm/README.md. */
export const PROTOCOL: Protocol = { prefixTokens: 2048, scoredTokens: 512 };

/** 1 / sqrt(head size), as kernels receive it. */
export const SOFTMAX_SCALE = Math.fround(1 / Math.sqrt(MODEL.headSize));

/** K and V of the prefix in one layer, values of binary16, (prefixTokens, KV heads, head size). */
export interface LayerPrefix {
  readonly k: Float32Array;
  readonly v: Float32Array;
}

/** Attention of the scored tokens over a prefix: one cache under study. */
export interface CacheAttention {
  /** k and v are binary16 values, and so is q; out is rounded to binary16 by the caller. */
  attend(
    prefix: LayerPrefix,
    q: Float32Array,
    k: Float32Array,
    v: Float32Array,
    out: Float32Array,
  ): void;
}

/** What a cache's attention may use of the evaluation. */
export interface Workbench {
  readonly arena: FloatArena;
  readonly attention: BlockedAttention;
  readonly protocol: Protocol;
}

export type WindowsResult =
  | { kind: 'windows'; windows: ScoredWindows }
  | { kind: 'error'; message: string };

export class ScoredWindows {
  /** Windows that the evaluation tokens are enough for. */
  readonly count: number;
  private prepared: { window: number; layers: LayerPrefix[] } | null = null;

  private constructor(
    private readonly model: CodeLmModel,
    private readonly tokens: Int32Array, // (evaluation tokens)
    readonly workbench: Workbench,
  ) {
    const { prefixTokens, scoredTokens } = workbench.protocol;
    this.count = Math.floor((tokens.length - 1) / (prefixTokens + scoredTokens));
  }

  /** folder: corpus/code-lm, with the weights. */
  static load(folder: string, protocol: Protocol = PROTOCOL): WindowsResult {
    const tokens = readTokens(join(folder, 'kv-q-eval.safetensors'));
    if (typeof tokens === 'string') return { kind: 'error', message: tokens };
    const { prefixTokens, scoredTokens } = protocol;
    const { queryHeads, kvHeads, headSize } = MODEL;
    const tokensMax = roundUp(prefixTokens + scoredTokens, 128);
    const shape = { queryHeads, kvHeads, headSize, tokensMax };
    const loaded = CodeLmModel.load(
      folder,
      Math.max(prefixTokens, scoredTokens),
      attentionFloats(shape),
    );
    if (loaded.kind === 'error') return loaded;
    const { arena } = loaded.model;
    const attention = new BlockedAttention(arena, shape);
    const workbench = { arena, attention, protocol };
    return { kind: 'windows', windows: new ScoredWindows(loaded.model, tokens, workbench) };
  }

  /** Losses of the scored tokens of a window through a cache, (scoredTokens), natural log. */
  losses(window: number, cache: CacheAttention): Float64Array {
    const { prefixTokens, scoredTokens } = this.workbench.protocol;
    const layers = this.prefixOf(window);
    const first = window * (prefixTokens + scoredTokens) + prefixTokens;
    const attention: LayerAttention = (layer, q, k, v, out) => {
      const rows = (x: Float32Array, heads: number) =>
        x.subarray(0, scoredTokens * heads * MODEL.headSize);
      roundToF16(rows(q, MODEL.queryHeads));
      roundToF16(rows(k, MODEL.kvHeads));
      roundToF16(rows(v, MODEL.kvHeads));
      cache.attend(layers[layer], q, k, v, out);
      roundToF16(rows(out, MODEL.queryHeads));
    };
    const scored = this.tokens.subarray(first, first + scoredTokens);
    const x = this.model.forward(scored, prefixTokens, attention);
    return this.model.losses(x, this.tokens.subarray(first + 1, first + scoredTokens + 1));
  }

  /** The prefix pass; the last window's is kept, because many caches follow one another on it. */
  private prefixOf(window: number): readonly LayerPrefix[] {
    if (this.prepared?.window === window) return this.prepared.layers;
    const { attention, protocol } = this.workbench;
    const { prefixTokens, scoredTokens } = protocol;
    const first = window * (prefixTokens + scoredTokens);
    const layers: LayerPrefix[] = [];
    const causal: LayerAttention = (layer, q, k, v, out) => {
      const floats = prefixTokens * MODEL.kvHeads * MODEL.headSize;
      const prefix = { k: k.slice(0, floats), v: v.slice(0, floats) };
      roundToF16(prefix.k);
      roundToF16(prefix.v);
      layers.push(prefix);
      if (layer === MODEL.layers - 1) return;
      writeTokens(attention, 0, prefixTokens, prefix.k, prefix.v);
      attention.attend(q, prefixTokens, 0, SOFTMAX_SCALE, out);
    };
    this.model.forward(this.tokens.subarray(first, first + prefixTokens), 0, causal, true);
    this.prepared = { window, layers };
    return layers;
  }
}

/** Rows of k and v (count, KV heads, head size) into the panels of every head. */
export function writeTokens(
  attention: BlockedAttention,
  first: number,
  count: number,
  k: Float32Array,
  v: Float32Array,
): void {
  for (let head = 0; head < MODEL.kvHeads; head++) {
    attention.write(head, first, count, headRows(k, head, 0, count), headRows(v, head, 0, count));
  }
}

/** Rows [first, first + count) of one head of x (tokens, KV heads, head size). */
export function headRows(
  x: Float32Array,
  head: number,
  first: number,
  count: number,
): Float32Array {
  const { kvHeads, headSize } = MODEL;
  const rows = new Float32Array(count * headSize);
  for (let t = 0; t < count; t++) {
    const from = ((first + t) * kvHeads + head) * headSize;
    rows.set(x.subarray(from, from + headSize), t * headSize);
  }
  return rows;
}

function roundToF16(x: Float32Array): void {
  for (let i = 0; i < x.length; i++) x[i] = f16Values[f16FromF64(x[i])];
}

function readTokens(path: string): Int32Array | string {
  const opened = SafetensorsFile.open(path);
  if (opened.kind === 'error') return opened.message;
  const { file } = opened;
  const entry = file.tensors.get('eval_tokens');
  const read = file.bytes('eval_tokens');
  file.close();
  if (read.kind === 'error') return read.message;
  if (entry?.dtype !== 'I32') {
    return `${path}: eval_tokens has dtype ${entry?.dtype}, I32 is required`;
  }
  const tokens = new Int32Array(read.bytes.buffer, read.bytes.byteOffset, entry.elements);
  const stray = tokens.findIndex((id) => id < 0 || id >= MODEL.vocabulary);
  if (stray < 0) return tokens;
  return `${path}: eval_tokens[${stray}] is ${tokens[stray]}, at most ${MODEL.vocabulary - 1}`;
}
