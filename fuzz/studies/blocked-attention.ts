// blocked-attention.ts - causal attention of many query tokens over one layer's keys and values, in
// binary32 by the product of wasm-matmul.ts.
//
// Keys and values lie in panels: what a query finds there is what its cache holds. While a sequence
// is decoded the cache changes: the last tokens % 128 tokens are fp16, and a record is packed when
// its last token arrives, before that token's query is answered (native/kernels, and
// reference/cache.ts for any length). `attend` therefore takes queries in blocks that end where a
// record fills, and tells its caller before each block how many tokens are packed by then.
//
// Softmax in float64 from scores in binary32. Against a float64 attention the outputs are off by
// about 1e-6 of the largest value (a test measures it), which is far below fp16.

import { recordTokens } from '../../reference/scheme.js';
import { type FloatArena, PANEL_COLUMNS, panelFloats, roundUp, TILE_ROWS } from './wasm-matmul.js';

export interface AttentionShape {
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly tokensMax: number;
}

/** Floats that a BlockedAttention takes of an arena. */
export function attentionFloats(shape: AttentionShape): number {
  const { kvHeads, headSize, tokensMax } = shape;
  const rows = recordTokens + TILE_ROWS;
  return 2 * kvHeads * panelFloats(headSize, tokensMax) + rows * (tokensMax + headSize) + 64;
}

export class BlockedAttention {
  private readonly keys: Float32Array[]; // of each KV head, (tokensMax / 8, headSize, 8)
  private readonly values: Float32Array[]; // of each KV head, (headSize / 8, tokensMax, 8)
  private readonly scores: Float32Array; // (128 and a tile, tokensMax)
  private readonly sums: Float32Array; // (128 and a tile, headSize)

  constructor(
    private readonly arena: FloatArena,
    private readonly shape: AttentionShape,
  ) {
    const { kvHeads, headSize, tokensMax } = shape;
    if (tokensMax % PANEL_COLUMNS !== 0) throw new RangeError(`tokensMax: ${tokensMax} % 8`);
    const panels = () =>
      Array.from({ length: kvHeads }, () => arena.allocate(headSize * tokensMax));
    this.keys = panels();
    this.values = panels();
    const rows = recordTokens + TILE_ROWS;
    this.scores = arena.allocate(rows * tokensMax);
    this.sums = arena.allocate(rows * headSize);
  }

  /** Tokens from `first` on of KV head `head`: k and v (count, headSize). */
  write(head: number, first: number, count: number, k: Float32Array, v: Float32Array): void {
    const { headSize, tokensMax } = this.shape;
    const keys = this.keys[head];
    const values = this.values[head];
    for (let t = 0; t < count; t++) {
      const token = first + t;
      const panel = Math.floor(token / PANEL_COLUMNS) * headSize;
      const column = token % PANEL_COLUMNS;
      for (let d = 0; d < headSize; d++) {
        keys[(panel + d) * PANEL_COLUMNS + column] = k[t * headSize + d];
        const place = Math.floor(d / PANEL_COLUMNS) * tokensMax + token;
        values[place * PANEL_COLUMNS + (d % PANEL_COLUMNS)] = v[t * headSize + d];
      }
    }
  }

  /**
   * q (count and a tile, queryHeads headSize), in the arena: queries of the tokens at positions
   * from `first` on. out as q. `packed(n)` is called before a block whose queries see n tokens in
   * records.
   */
  attend(
    q: Float32Array,
    count: number,
    first: number,
    scale: number,
    out: Float32Array,
    packed: (tokens: number) => void = () => {},
  ): void {
    for (let row = 0; row < count; ) {
      const seen = first + row + 1; // tokens that the first query of the block sees
      const inRecords = seen - (seen % recordTokens);
      const rows = Math.min(count - row, inRecords + recordTokens - seen);
      packed(inRecords);
      for (let head = 0; head < this.shape.queryHeads; head++) {
        this.block(head, q, row, rows, seen, scale, out);
      }
      row += rows;
    }
  }

  private block(
    head: number,
    q: Float32Array,
    row: number,
    rows: number,
    seen: number,
    scale: number,
    out: Float32Array,
  ): void {
    const { arena, scores, sums } = this;
    const { queryHeads, kvHeads, headSize, tokensMax } = this.shape;
    const kvHead = Math.floor(head / (queryHeads / kvHeads));
    const width = queryHeads * headSize;
    const tokens = roundUp(seen + rows - 1, PANEL_COLUMNS);
    scores.fill(0, 0, roundUp(rows, TILE_ROWS) * tokens);
    arena.multiply({
      ...{ a: q.subarray(row * width + head * headSize), b: this.keys[kvHead], c: scores },
      ...{ m: rows, n: tokens, k: headSize, aStride: width, cStride: tokens },
      panelStride: PANEL_COLUMNS * headSize,
    });
    for (let r = 0; r < rows; r++) {
      const start = r * tokens;
      softmaxRow(scores.subarray(start, start + tokens), seen + r, scale);
    }
    sums.fill(0, 0, roundUp(rows, TILE_ROWS) * headSize);
    arena.multiply({
      ...{ a: scores, b: this.values[kvHead], c: sums },
      ...{ m: rows, n: headSize, k: tokens, aStride: tokens, cStride: headSize },
      panelStride: PANEL_COLUMNS * tokensMax,
    });
    for (let r = 0; r < rows; r++) {
      out.set(sums.subarray(r * headSize, (r + 1) * headSize), (row + r) * width + head * headSize);
    }
  }
}

/** Scores to weights, in place; what lies behind the `seen` tokens gets weight 0. */
function softmaxRow(row: Float32Array, seen: number, scale: number): void {
  let max = Number.NEGATIVE_INFINITY;
  for (let t = 0; t < seen; t++) if (row[t] > max) max = row[t];
  let sum = 0;
  for (let t = 0; t < seen; t++) {
    const weight = Math.exp((row[t] - max) * scale);
    row[t] = weight;
    sum += weight;
  }
  const inverse = 1 / sum;
  for (let t = 0; t < seen; t++) row[t] *= inverse;
  row.fill(0, seen);
}
