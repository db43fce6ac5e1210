// code-lm-model.ts - the forward pass of corpus/code-lm in TypeScript, binary32 throughout.
//
// A decoder of the Llama kind: RMSNorm (eps 1e-5), RoPE (theta 10000, half-split), grouped-query
// attention, SwiGLU, tied embeddings; a linear layer is y = x W^T. The attention of each layer is a
// function that the caller passes in, so that a cache of few bits or a kernel can stand in its
// place; everything else is here.
//
// Against the model's own record (corpus/code-lm/README.md) the mean loss over the 32 evaluation
// windows agrees to 4 decimals; fuzz/studies/README.md has the figure and the command.

import { join } from 'node:path';
import { f16Values } from '../../reference/format.js';
import { SafetensorsFile } from '../campaign/safetensors.js';
import { FloatArena, packRows, panelFloats, TILE_ROWS } from './wasm-matmul.js';

export const MODEL = {
  layers: 6,
  width: 384,
  queryHeads: 4,
  kvHeads: 2,
  headSize: 128,
  hidden: 1024,
  vocabulary: 4096,
} as const;

const { layers, width, queryHeads, kvHeads, headSize, hidden, vocabulary } = MODEL;
const queryWidth = queryHeads * headSize;
const kvWidth = kvHeads * headSize;
const NORM_EPSILON = 1e-5;
const ROPE_THETA = 10000;
/** Rows whose logits are made at a time. */
const LOGIT_ROWS = 128;

interface Layer {
  readonly attentionNorm: Float32Array; // (width)
  readonly hiddenNorm: Float32Array; // (width)
  readonly wq: Float32Array; // panels of (width, queryWidth), as all below
  readonly wk: Float32Array;
  readonly wv: Float32Array;
  readonly wo: Float32Array;
  readonly w1: Float32Array;
  readonly w3: Float32Array;
  readonly w2: Float32Array;
}

/**
 * Attention of one layer: q (tokens, query heads, head size), k and v (tokens, KV heads, head size)
 * of the tokens of this pass, k and q after RoPE; writes out (as q). q and out lie in the arena,
 * with a tile of rows behind them.
 */
export type LayerAttention = (
  layer: number,
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  out: Float32Array,
) => void;

export type ModelResult =
  | { kind: 'model'; model: CodeLmModel }
  | { kind: 'error'; message: string };

export class CodeLmModel {
  private constructor(
    readonly arena: FloatArena,
    private readonly embedding: Float32Array, // (vocabulary, width)
    private readonly layers: readonly Layer[],
    private readonly norm: Float32Array, // (width)
    private readonly unembedding: Float32Array, // panels of (width, vocabulary)
    private readonly tokensMax: number,
    private readonly scratch: Scratch,
  ) {}

  /** tokensMax: of one pass. extraFloats: what the caller allocates in the arena beside. */
  static load(folder: string, tokensMax: number, extraFloats: number): ModelResult {
    const read = readWeights(folder);
    if (typeof read === 'string') return { kind: 'error', message: read };
    const perLayer = 2 * width * queryWidth + 2 * width * kvWidth + 3 * width * hidden;
    const logits = width * vocabulary + (LOGIT_ROWS + TILE_ROWS) * vocabulary;
    const rows = (tokensMax + TILE_ROWS) * (2 * width + 2 * queryWidth + 2 * kvWidth + 2 * hidden);
    const arena = new FloatArena(layers * perLayer + logits + rows + extraFloats + 256);
    const pack = (name: string, n: number, k: number): Float32Array => {
      const out = arena.allocate(panelFloats(k, n));
      packRows(read(name), n, k, out);
      return out;
    };
    const made = Array.from({ length: layers }, (_, i): Layer => {
      const name = (part: string) => `layers.${i}.${part}.weight`;
      return {
        attentionNorm: read(name('attn_norm')),
        hiddenNorm: read(name('ffn_norm')),
        wq: pack(name('wq'), queryWidth, width),
        wk: pack(name('wk'), kvWidth, width),
        wv: pack(name('wv'), kvWidth, width),
        wo: pack(name('wo'), width, queryWidth),
        w1: pack(name('w1'), hidden, width),
        w3: pack(name('w3'), hidden, width),
        w2: pack(name('w2'), width, hidden),
      };
    });
    const embedding = read('tok_embed.weight');
    const unembedding = pack('tok_embed.weight', vocabulary, width);
    const scratch = new Scratch(arena, tokensMax);
    const norm = read('norm.weight');
    const parts = [arena, embedding, made, norm, unembedding, tokensMax, scratch] as const;
    return { kind: 'model', model: new CodeLmModel(...parts) };
  }

  /**
   * Hidden states behind the last layer, (tokens, width), of tokens at positions from `first` on;
   * valid until the next pass. `lastAttention`: the last layer only as far as its k and v, for a
   * prefix of which nothing else is wanted.
   */
  forward(
    tokens: ArrayLike<number>,
    first: number,
    attention: LayerAttention,
    endAtLastAttention = false,
  ): Float32Array {
    const count = tokens.length;
    if (count > this.tokensMax) throw new RangeError(`${count} tokens, at most ${this.tokensMax}`);
    const { x, normed, q, k, v, attended, gate, up } = this.scratch;
    for (let t = 0; t < count; t++) {
      x.set(this.embedding.subarray(tokens[t] * width, (tokens[t] + 1) * width), t * width);
    }
    const rotate = rotation(first, count);
    this.layers.forEach((layer, index) => {
      normalize(x, layer.attentionNorm, normed, count);
      this.linear(normed, layer.wq, q, count, width, queryWidth);
      this.linear(normed, layer.wk, k, count, width, kvWidth);
      this.linear(normed, layer.wv, v, count, width, kvWidth);
      rotate(q, queryHeads);
      rotate(k, kvHeads);
      attention(index, q, k, v, attended);
      if (endAtLastAttention && index === layers - 1) return;
      this.linear(attended, layer.wo, x, count, queryWidth, width, 'add');
      normalize(x, layer.hiddenNorm, normed, count);
      this.linear(normed, layer.w1, gate, count, width, hidden);
      this.linear(normed, layer.w3, up, count, width, hidden);
      for (let i = 0; i < count * hidden; i++) gate[i] *= up[i] / (1 + Math.exp(-gate[i]));
      this.linear(gate, layer.w2, x, count, hidden, width, 'add');
    });
    return x;
  }

  /** Loss of each position, natural log: -ln p(targets[t] | hidden state t). */
  losses(x: Float32Array, targets: ArrayLike<number>): Float64Array {
    const { normed, logits } = this.scratch;
    const out = new Float64Array(targets.length);
    normalize(x, this.norm, normed, targets.length);
    for (let first = 0; first < targets.length; first += LOGIT_ROWS) {
      const rows = Math.min(LOGIT_ROWS, targets.length - first);
      const from = normed.subarray(first * width);
      this.linear(from, this.unembedding, logits, rows, width, vocabulary);
      for (let r = 0; r < rows; r++) {
        const row = logits.subarray(r * vocabulary, (r + 1) * vocabulary);
        out[first + r] = logSumExp(row) - row[targets[first + r]];
      }
    }
    return out;
  }

  private linear(
    a: Float32Array,
    b: Float32Array,
    c: Float32Array,
    m: number,
    k: number,
    n: number,
    into: 'new' | 'add' = 'new',
  ): void {
    if (into === 'new') c.fill(0, 0, (m + TILE_ROWS) * n);
    this.arena.multiply({ a, b, c, m, n, k, aStride: k, cStride: n, panelStride: 8 * k });
  }
}

/** Arrays of a pass, each with a tile of rows behind the tokens. */
class Scratch {
  readonly x: Float32Array; // (tokens, width)
  readonly normed: Float32Array; // (tokens, width)
  readonly q: Float32Array; // (tokens, query heads, head size)
  readonly k: Float32Array; // (tokens, KV heads, head size)
  readonly v: Float32Array; // as k
  readonly attended: Float32Array; // as q
  readonly gate: Float32Array; // (tokens, hidden)
  readonly up: Float32Array; // (tokens, hidden)
  readonly logits: Float32Array; // (LOGIT_ROWS, vocabulary)

  constructor(arena: FloatArena, tokensMax: number) {
    const rows = (n: number) => arena.allocate((tokensMax + TILE_ROWS) * n);
    this.x = rows(width);
    this.normed = rows(width);
    this.q = rows(queryWidth);
    this.k = rows(kvWidth);
    this.v = rows(kvWidth);
    this.attended = rows(queryWidth);
    this.gate = rows(hidden);
    this.up = rows(hidden);
    this.logits = arena.allocate((LOGIT_ROWS + TILE_ROWS) * vocabulary);
  }
}

function normalize(x: Float32Array, weight: Float32Array, out: Float32Array, rows: number): void {
  for (let r = 0; r < rows; r++) {
    const at = r * width;
    let sum = 0;
    for (let i = 0; i < width; i++) sum += x[at + i] * x[at + i];
    const inverse = 1 / Math.sqrt(sum / width + NORM_EPSILON);
    for (let i = 0; i < width; i++) out[at + i] = x[at + i] * inverse * weight[i];
  }
}

/** RoPE, half-split: channel i turns with channel i + 64 by position theta^(-2 i / 128). */
function rotation(first: number, count: number): (x: Float32Array, heads: number) => void {
  const half = headSize / 2;
  const cosines = new Float64Array(count * half);
  const sines = new Float64Array(count * half);
  for (let t = 0; t < count; t++) {
    for (let i = 0; i < half; i++) {
      const angle = (first + t) * ROPE_THETA ** (-i / half);
      cosines[t * half + i] = Math.cos(angle);
      sines[t * half + i] = Math.sin(angle);
    }
  }
  return (x, heads) => {
    for (let row = 0; row < count * heads; row++) {
      const angles = Math.floor(row / heads) * half;
      const at = row * headSize;
      for (let i = 0; i < half; i++) {
        const [c, s] = [cosines[angles + i], sines[angles + i]];
        const [a, b] = [x[at + i], x[at + half + i]];
        x[at + i] = a * c - b * s;
        x[at + half + i] = b * c + a * s;
      }
    }
  };
}

function logSumExp(row: Float32Array): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < row.length; i++) if (row[i] > max) max = row[i];
  let sum = 0;
  for (let i = 0; i < row.length; i++) sum += Math.exp(row[i] - max);
  return max + Math.log(sum);
}

/** A reader of named weights as binary32, or one sentence. */
function readWeights(folder: string): ((name: string) => Float32Array) | string {
  const tensors = new Map<string, Float32Array>();
  for (const part of ['model-1.safetensors', 'model-2.safetensors']) {
    const opened = SafetensorsFile.open(join(folder, part));
    if (opened.kind === 'error') return opened.message;
    for (const [name, { elements }] of opened.file.tensors) {
      const slice = opened.file.slice(name, 0, elements);
      if (slice.kind === 'error') return slice.message;
      tensors.set(
        name,
        Float32Array.from(slice.values, (bits) => f16Values[bits]),
      );
    }
    opened.file.close();
  }
  for (const [name, elements] of expectedWeights()) {
    const found = tensors.get(name)?.length ?? 0;
    if (found !== elements) {
      return `${folder}: ${name} has ${found} elements, ${elements} are required`;
    }
  }
  return (name) => tensors.get(name) as Float32Array;
}

function expectedWeights(): [string, number][] {
  const expected: [string, number][] = [
    ['tok_embed.weight', vocabulary * width],
    ['norm.weight', width],
  ];
  const parts: [string, number][] = [
    ['attn_norm', width],
    ['ffn_norm', width],
    ['wq', queryWidth * width],
    ['wk', kvWidth * width],
    ['wv', kvWidth * width],
    ['wo', width * queryWidth],
    ['w1', hidden * width],
    ['w3', hidden * width],
    ['w2', width * hidden],
  ];
  for (let i = 0; i < layers; i++) {
    for (const [part, size] of parts) expected.push([`layers.${i}.${part}.weight`, size]);
  }
  return expected;
}
