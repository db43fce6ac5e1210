// reference-attention.ts - a cache of few bits as the reference says it: codes, scales and zeros of
// reference/scheme.ts for any pair of widths, attention in binary32 over what they dequantise to.
//
// The prefix is quantised, and the tokens that follow are appended as in serving: they stay in fp16
// until 128 of them fill a record, which is then packed. This is the `ref:` of the perplexity
// study. It differs from the float64 kernel of properties/reference-kernel.ts by binary32 sums,
// 1e-6 of an output that is rounded to fp16 in both (a test compares them), and it is what makes 54
// caches times 32 windows affordable.

import { recordTokens } from '../../reference/scheme.js';
import { MODEL } from './code-lm-model.js';
import { type Quantizer, throughCache } from './quantizer.js';
import {
  type CacheAttention,
  headRows,
  type LayerPrefix,
  SOFTMAX_SCALE,
  type Workbench,
} from './scored-windows.js';

export class ReferenceAttention implements CacheAttention {
  constructor(
    private readonly workbench: Workbench,
    private readonly kQuantizer: Quantizer,
    private readonly vQuantizer: Quantizer,
  ) {}

  attend(
    prefix: LayerPrefix,
    q: Float32Array,
    k: Float32Array,
    v: Float32Array,
    out: Float32Array,
  ): void {
    const { attention, protocol } = this.workbench;
    const { prefixTokens, scoredTokens } = protocol;
    const heads = Array.from({ length: MODEL.kvHeads }, (_, head) => {
      const rows = (a: Float32Array, b: Float32Array) =>
        joined(headRows(a, head, 0, prefixTokens), headRows(b, head, 0, scoredTokens));
      return { k: rows(prefix.k, k), v: rows(prefix.v, v) };
    });
    heads.forEach((rows, head) => {
      attention.write(head, 0, prefixTokens + scoredTokens, rows.k, rows.v);
    });
    let packed = 0;
    attention.attend(q, scoredTokens, prefixTokens, SOFTMAX_SCALE, out, (tokens) => {
      heads.forEach((rows, head) => {
        this.pack(head, rows.k, rows.v, packed, tokens - packed);
      });
      packed = tokens;
    });
  }

  /** Tokens [first, first + count) of a head, whole records, as the cache gives them back. */
  private pack(head: number, k: Float32Array, v: Float32Array, first: number, count: number): void {
    if (count === 0) return;
    if (count % recordTokens !== 0) throw new RangeError(`${count} tokens are no whole records`);
    const { headSize } = MODEL;
    const [from, to] = [first * headSize, (first + count) * headSize];
    const [kRows, vRows] = [k.slice(from, to), v.slice(from, to)];
    throughCache(this.kQuantizer, kRows, count, headSize, kRows);
    throughCache(this.vQuantizer, vRows, count, headSize, vRows);
    this.workbench.attention.write(head, first, count, kRows, vRows);
  }
}

function joined(a: Float32Array, b: Float32Array): Float32Array {
  const out = new Float32Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}
