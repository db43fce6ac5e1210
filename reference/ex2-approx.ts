/**
 * ex2.approx.ftz.f32 with the bits of an H100: the second implementation of the model in
 * native/mma/special.cpp, written for float64.
 *
 * The unit evaluates a quadratic in a segment of the 23-bit fraction F (Oberman and Siu, ARITH
 * 2005): with F = 2^17 segment + x the value is c0 2^13 + 6114 + c1 x + c2 S(x), in units of 2^-38,
 * cut to 23 fraction bits. S(x) is x^2 in units of 2^19 without the partial products below one
 * unit. All of it is below 2^39, so float64 is exact.
 *
 * The coefficients were solved for from all 2^23 answers of an H100 80GB HBM3 (driver 580, CUDA
 * 13.0, 2026-11-24); ex2-approx.test.ts holds the results against a hash of those. That other
 * architectures have the same unit is not known, so only sm_90 is called exact (schedule.ts).
 */

const fractionBits = 23;
const fractions = 2 ** fractionBits;
const segmentBits = 17;
const constant = 6114;

/** c0, c1, c2 of each of 64 segments. */
const coefficients: readonly (readonly [number, number, number])[] = [
  [33554435, 22713, 494],
  [33919818, 22960, 501],
  [34289182, 23210, 506],
  [34662565, 23463, 511],
  [35040018, 23718, 518],
  [35421577, 23977, 521],
  [35807292, 24238, 527],
  [36197209, 24502, 532],
  [36591372, 24768, 541],
  [36989825, 25038, 546],
  [37392616, 25311, 551],
  [37799797, 25586, 559],
  [38211409, 25865, 564],
  [38627504, 26147, 568],
  [39048131, 26431, 577],
  [39473337, 26719, 583],
  [39903173, 27010, 589],
  [40337690, 27304, 596],
  [40776937, 27602, 600],
  [41220970, 27902, 609],
  [41669836, 28206, 615],
  [42123592, 28513, 622],
  [42582286, 28824, 627],
  [43045977, 29138, 633],
  [43514717, 29455, 641],
  [43988561, 29776, 647],
  [44467565, 30100, 655],
  [44951786, 30428, 661],
  [45441278, 30759, 670],
  [45936101, 31094, 677],
  [46436314, 31432, 686],
  [46941971, 31775, 691],
  [47453135, 32121, 699],
  [47969867, 32471, 705],
  [48492225, 32824, 715],
  [49020269, 33182, 721],
  [49554065, 33543, 730],
  [50093674, 33908, 739],
  [50639159, 34277, 748],
  [51190582, 34651, 753],
  [51748011, 35028, 763],
  [52311510, 35409, 773],
  [52881146, 35795, 779],
  [53456983, 36185, 787],
  [54039091, 36579, 796],
  [54627538, 36977, 806],
  [55222393, 37380, 813],
  [55823725, 37787, 822],
  [56431607, 38198, 833],
  [57046106, 38614, 842],
  [57667297, 39035, 849],
  [58295254, 39460, 858],
  [58930048, 39889, 870],
  [59571754, 40324, 877],
  [60220447, 40763, 887],
  [60876205, 41207, 896],
  [61539104, 41655, 909],
  [62209220, 42109, 917],
  [62886634, 42568, 925],
  [63571424, 43031, 938],
  [64263672, 43500, 946],
  [64963458, 43973, 959],
  [65670863, 44452, 969],
  [66385972, 44936, 980],
];
const c0 = Float64Array.from(coefficients, ([c]) => c * 2 ** 13 + constant);
const c1 = Float64Array.from(coefficients, ([, c]) => c);
const c2 = Float64Array.from(coefficients, ([, , c]) => c);

/** S(x) of a 17-bit x, (2^15): by x >> 2, since the two lowest bits reach no partial product. */
const squares = new Float64Array(2 ** (segmentBits - 2));
for (let high = 0; high < squares.length; high++) {
  const x = 4 * high;
  let sum = 0;
  for (let j = segmentBits - 1; 2 * j >= 19; j--) {
    if (((x >> j) & 1) === 0) continue;
    // Bit j: its own square, and twice its products with the bits below.
    sum += ((x & ((1 << j) - 1)) >> (18 - j)) + (1 << (2 * j - 19));
  }
  squares[high] = sum;
}

/** ex2 of F 2^-23, in [1, 2), F < 2^23. */
export function ex2Fraction(fraction: number): number {
  const segment = fraction >>> segmentBits;
  const x = fraction & (2 ** segmentBits - 1);
  const value = c0[segment] + c1[segment] * x + c2[segment] * squares[x >>> 2];
  return Math.floor(value * 2 ** -15) * 2 ** -fractionBits;
}

/** 2^-i, i <= 127 */
const powers = Float64Array.from({ length: 128 }, (_, i) => 2 ** -i);

/** 2^x for a binary32 x <= 0, which is all that a softmax asks for. */
export function ex2Approx(x: number): number {
  if (x < -126) return 0;
  const magnitude = -x;
  const whole = Math.floor(magnitude);
  const fraction = Math.floor((magnitude - whole) * fractions);
  if (fraction === 0) return powers[whole];
  // The fraction of a negative argument enters as a one's complement.
  return ex2Fraction(fractions - 1 - fraction) * powers[whole + 1];
}
