/**
 * 2^x, the logarithm of a sum of powers, and tanh, with stated errors.
 *
 * The language leaves the accuracy of Math.exp and Math.log2 to the engine, so neither decides a
 * result here. exp2 uses + - * and a table of exact powers only:
 *   x = n + f, |f| <= 1/2 (exact), 2^f = sum over k <= 13 of (f ln 2)^k / k!
 * The first omitted term is below 0.3466^14 / 14! < 2^-57; the constant ln 2 has a relative error
 * of 2^-55, worth 2^-56 in the result; Horner's scheme adds less than 3 ulp because |f ln 2| < 0.35
 * damps every earlier rounding. Stated bound: relative error at most 2^-50 (exp2Error) for
 * -1022 <= x < 1024; below that results are subnormal, with an absolute error of 2^-1074.
 * That is 2^-26 of u = 2^-24, the smallest unit that a kernel's error bound is built from.
 */
/** Bound of |exp2(x) / 2^x - 1|, derived above. */
export const exp2Error = 2 ** -50;

export const ln2: number = Math.LN2;
export const log2e: number = Math.LOG2E;

/** (ln 2)^k / k!, each correctly rounded to a few ulp; k = 0..13 */
const coefficients = ((): number[] => {
  const c = [1];
  for (let k = 1; k <= 13; k++) c.push((c[k - 1] * ln2) / k);
  return c;
})();
const [c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13] = coefficients;

/** 2^(i - 1074), (1074 + 1024), exact because doubling is */
const powers = new Float64Array(2098);
powers[0] = Number.MIN_VALUE;
for (let i = 1; i < powers.length; i++) powers[i] = 2 * powers[i - 1];

export function exp2(x: number): number {
  if (!(x < 1024)) return x >= 1024 ? Number.POSITIVE_INFINITY : Number.NaN;
  if (x < -1075) return 0;
  const n = Math.max(Math.round(x), -1074);
  const f = x - n;
  const high = ((((((c13 * f + c12) * f + c11) * f + c10) * f + c9) * f + c8) * f + c7) * f;
  const series = ((((((high + c6) * f + c5) * f + c4) * f + c3) * f + c2) * f + c1) * f + c0;
  return n === 1024 ? series * powers[2097] * 2 : series * powers[n + 1074];
}

/**
 * log2 x for a positive finite normal x. The engine's Math.log2 is only a first guess: one Newton
 * step, y + (x 2^-y - 1) / ln 2, leaves the square of its error and the error of exp2, so
 * |error| <= 2^-49 + 2^-52 |y| for any guess that is right to 2^-26.
 */
export function log2(x: number): number {
  const guess = Math.log2(x);
  if (!Number.isFinite(guess)) return guess;
  const whole = Math.round(guess);
  // Scaling by 2^-whole first keeps both factors near 1.
  const scaled = x * powers[1074 - whole];
  const fraction = guess - whole;
  return guess + (scaled * exp2(-fraction) - 1) / ln2;
}

/** terms of the series of e^y - 1: 0.35^17 / 17! < 2^-70 */
const expm1Terms = 16;

/**
 * tanh x, relative error at most 2^-48: -t / (2 + t) with t = e^y - 1, y = -2 |x|. Down to y =
 * -0.35 t is its Taylor series (nothing cancels: its first term dominates); below, exp2 loses at
 * most |y| 2^-52 + exp2Error relative to e^y, which is at most 2.4 t.
 */
export function tanh(x: number): number {
  const y = -2 * Math.abs(x);
  let t: number;
  if (y > -0.35) {
    let series = 1;
    for (let k = expm1Terms; k > 1; k--) series = 1 + (y / k) * series;
    t = y * series;
  } else {
    t = exp2(y * log2e) - 1;
  }
  const magnitude = -t / (2 + t);
  return x < 0 || Object.is(x, -0) ? -magnitude : magnitude;
}
