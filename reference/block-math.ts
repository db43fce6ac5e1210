/**
 * What attention and its bound do with a block of rows of K or V, for all query rows of a head at
 * once:
 *
 *   scaleByChannel  out[t][d]  = codes[t][d] scales[d] + zeros[d]
 *   scaleByGroup    out[i]     = codes[i] scales[i / group] + zeros[i / group]
 *   dot             out[h][t]  = sum_i x[h][i] rows[t][i]
 *   addWeighted     sums[h][d] += sum_t weights[h][t] rows[t][d]
 *   columnSums      sums[d]    = sum_t rows[t][d], largest[d] = max_t |rows[t][d]|
 *   deviations      out[t][d]  = |rows[t][d] - centre[d]|
 *
 * Order of the sums: dot adds even and odd i apart, each in order, then both (two lanes of a vector
 * do that); all others take t in order, so that blocks of tokens change nothing. Products and sums
 * are rounded one by one, there is no fused multiply-add: the error of a sum of n products is below
 * n 2^-53 of the sum of their magnitudes, whatever the order.
 *
 * This file is the meaning; block-simd.ts gives the same bits in vectors.
 */

export interface BlockMath {
  /** Zeros, where the functions take their arguments from and leave their results */
  array(length: number): Float64Array;
  /** the same for codes */
  codes(length: number): Uint8Array;
  /** codes, out (count, size); scales, zeros (size) */
  scaleByChannel(
    codes: Uint8Array,
    scales: Float64Array,
    zeros: Float64Array,
    out: Float64Array,
    count: number,
  ): void;
  /** codes, out (groups, group); scales, zeros (groups) */
  scaleByGroup(
    codes: Uint8Array,
    scales: Float64Array,
    zeros: Float64Array,
    out: Float64Array,
    groups: number,
    group: number,
  ): void;
  /** rows (count, size), x (queries, size), out (queries, stride), stride a multiple of 4 */
  dot(
    rows: Float64Array,
    count: number,
    size: number,
    x: Float64Array,
    out: Float64Array,
    stride: number,
  ): void;
  /** rows (count, size), weights (queries, stride), sums (queries, size) */
  addWeighted(
    rows: Float64Array,
    count: number,
    size: number,
    weights: Float64Array,
    stride: number,
    sums: Float64Array,
  ): void;
  /** rows (count, size); sums, largest (size); a NaN is larger than nothing */
  columnSums(rows: Float64Array, count: number, sums: Float64Array, largest: Float64Array): void;
  /** rows, out (count, size), centre (size) */
  deviations(rows: Float64Array, count: number, centre: Float64Array, out: Float64Array): void;
}

export const plainBlock: BlockMath = {
  array: (length) => new Float64Array(length),
  codes: (length) => new Uint8Array(length),

  scaleByChannel(codes, scales, zeros, out, count) {
    const size = scales.length;
    for (let t = 0; t < count; t++) {
      for (let d = 0; d < size; d++) {
        out[t * size + d] = codes[t * size + d] * scales[d] + zeros[d];
      }
    }
  },

  scaleByGroup(codes, scales, zeros, out, groups, group) {
    for (let g = 0; g < groups; g++) {
      for (let i = g * group; i < (g + 1) * group; i++) out[i] = codes[i] * scales[g] + zeros[g];
    }
  },

  dot(rows, count, size, x, out, stride) {
    for (let h = 0; h * size < x.length; h++) {
      for (let t = 0; t < count; t++) {
        let even = 0;
        let odd = 0;
        for (let i = 0; i < size; i += 2) {
          even += x[h * size + i] * rows[t * size + i];
          if (i + 1 < size) odd += x[h * size + i + 1] * rows[t * size + i + 1];
        }
        out[h * stride + t] = even + odd;
      }
    }
  },

  addWeighted(rows, count, size, weights, stride, sums) {
    for (let h = 0; h * size < sums.length; h++) {
      for (let t = 0; t < count; t++) {
        const weight = weights[h * stride + t];
        for (let d = 0; d < size; d++) sums[h * size + d] += weight * rows[t * size + d];
      }
    }
  },

  columnSums(rows, count, sums, largest) {
    const size = sums.length;
    sums.fill(0);
    largest.fill(0);
    for (let t = 0; t < count; t++) {
      for (let d = 0; d < size; d++) {
        const x = rows[t * size + d];
        sums[d] += x;
        if (Math.abs(x) > largest[d]) largest[d] = Math.abs(x);
      }
    }
  },

  deviations(rows, count, centre, out) {
    const size = centre.length;
    for (let t = 0; t < count; t++) {
      for (let d = 0; d < size; d++) out[t * size + d] = Math.abs(rows[t * size + d] - centre[d]);
    }
  },
};
