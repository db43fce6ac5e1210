// hadamard.ts - the orthonormal Hadamard rotation of rows, which spreads an outlier channel over
// all channels before a tensor is quantised.
//
// With H symmetric and H H = 1: q.k = (H q).(H k), so keys may be stored rotated if queries are
// rotated too; and sum w v = H (sum w (H v)). The study rotates, quantises and rotates back, which
// is the same attention as a kernel that rotates queries and outputs instead.

/** Rows of x (rows, size), in place; size is a power of two. */
export function rotateRows(x: Float32Array, size: number): void {
  if (size < 1 || (size & (size - 1)) !== 0) {
    throw new RangeError(`size: ${size} is not a power of two`);
  }
  const row = new Float64Array(size);
  const norm = 1 / Math.sqrt(size);
  for (let at = 0; at < x.length; at += size) {
    for (let i = 0; i < size; i++) row[i] = x[at + i];
    for (let half = 1; half < size; half *= 2) {
      for (let i = 0; i < size; i++) {
        if ((i & half) !== 0) continue;
        const [a, b] = [row[i], row[i + half]];
        row[i] = a + b;
        row[i + half] = a - b;
      }
    }
    for (let i = 0; i < size; i++) x[at + i] = row[i] * norm;
  }
}
