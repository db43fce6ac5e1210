/**
 * Big: decimal arithmetic of many digits, and exact steps between it and binary numbers.
 *
 * The twin of this folder says again, slowly and with nothing shared, what the reference computes
 * in float64. Only tests use it: they pass in mathjs' BigNumber (at least 120 digits), so nothing
 * here imports a package.
 */

/** What is used of a decimal number; mathjs' BigNumber is one. */
export interface Big {
  plus(x: Big): Big;
  minus(x: Big): Big;
  times(x: Big): Big;
  div(x: Big): Big;
  abs(): Big;
  exp(): Big;
  ln(): Big;
  comparedTo(x: Big): number;
  /** mode 6: to nearest, ties to even; 4: ties away from zero; 3: toward -Infinity */
  toDecimalPlaces(places: number, mode: 3 | 4 | 6): Big;
  toNumber(): number;
  toString(): string;
}

/** Makes a Big of a decimal integer. */
export type BigOf = (text: string) => Big;

/** 2^exponent. */
function power(big: BigOf, exponent: number): Big {
  const magnitude = big((1n << BigInt(Math.abs(exponent))).toString());
  return exponent < 0 ? big('1').div(magnitude) : magnitude;
}

/** A finite float64, exactly if its decimal expansion fits the digits. */
export function exactly(big: BigOf, x: number): Big {
  let significand = x;
  let exponent = 0;
  while (!Number.isInteger(significand)) {
    significand *= 2;
    exponent--;
  }
  return big(BigInt(significand).toString()).times(power(big, exponent));
}

/**
 * A binary format for rounding: significant bits, exponent of the smallest normal, largest value.
 */
export interface Binary {
  readonly significand: number;
  readonly exponentMin: number;
  readonly max: number;
}

export const binary32: Binary = {
  significand: 24,
  exponentMin: -126,
  max: (2 - 2 ** -23) * 2 ** 127,
};
export const binary16: Binary = { significand: 11, exponentMin: -14, max: 65504 };

/** x rounded once to a binary format, ties to even, as a float64. */
export function roundTo(big: BigOf, format: Binary, x: Big): number {
  const zero = big('0');
  const sign = x.comparedTo(zero);
  if (sign === 0) return 0;
  const magnitude = x.abs();
  // The exponent from float64 is right or one too high (where it rounded up to a power of two).
  let exponent = Math.floor(Math.log2(magnitude.toNumber()));
  while (magnitude.comparedTo(power(big, exponent)) < 0) exponent--;
  while (magnitude.comparedTo(power(big, exponent + 1)) >= 0) exponent++;
  const quantum = Math.max(exponent, format.exponentMin) - format.significand + 1;
  const quanta = magnitude.div(power(big, quantum)).toDecimalPlaces(0, 6);
  const rounded = quanta.toNumber() * 2 ** quantum;
  return sign * (rounded > format.max ? Number.POSITIVE_INFINITY : rounded);
}

/** Arithmetic on float64 operands with one rounding a step. */
export interface Steps {
  readonly add: (a: number, b: number) => number;
  readonly subtract: (a: number, b: number) => number;
  readonly multiply: (a: number, b: number) => number;
  readonly divide: (a: number, b: number) => number;
  readonly fma: (a: number, b: number, c: number) => number;
  readonly round: (a: number) => number;
}

/** Steps of finite operands in a binary format. */
export function stepsIn(big: BigOf, format: Binary): Steps {
  const of = (x: number) => exactly(big, x);
  const round = (x: Big) => roundTo(big, format, x);
  return {
    add: (a, b) => round(of(a).plus(of(b))),
    subtract: (a, b) => round(of(a).minus(of(b))),
    multiply: (a, b) => round(of(a).times(of(b))),
    divide: (a, b) => round(of(a).div(of(b))),
    fma: (a, b, c) => round(of(a).times(of(b)).plus(of(c))),
    round: (a) => round(of(a)),
  };
}

/** The whole number nearest to x: ties to even (6), away from zero (4); or its floor (3). */
export function wholeNumber(big: BigOf, x: number, mode: 3 | 4 | 6): number {
  return exactly(big, x).toDecimalPlaces(0, mode).toNumber();
}
