/**
 * The number types that cache formats store and compute in, behind one interface.
 *
 * f16 and f32 are IEEE 754 binary16 and binary32; bf16 is binary32 cut to 8 significant bits. The
 * others are the 8-bit and 4-bit types of GPUs ("OCP 8-bit Floating Point Specification", 2023, and
 * "OCP Microscaling Formats (MX) Specification", 2023):
 *   e4m3  bias 7, no infinity, NaN is S.1111.111, largest value 448
 *   e5m2  bias 15, infinity and NaN as in IEEE 754, largest finite value 57344
 *   e2m1  bias 1, neither infinity nor NaN, largest value 6
 * All roundings are to nearest, ties to even, from the float64 in one step.
 *
 * What happens above the largest value is a choice of the operation, not of the type:
 *   encode     as IEEE 754 and PyTorch do: infinity where the type has one, else NaN, else the
 *              largest
 *   saturate   as cvt.rn.satfinite does: the largest finite value, infinities too
 * NaN becomes the positive NaN with all bits set (PTX's canonical NaN of each type), and the
 * largest positive value in e2m1, which is what cvt.rn.satfinite.e2m1x2 documents. Payloads are not
 * kept.
 */
import { exponentOf, f16FromF64, f16Values, powerOfTwo } from './format.js';

export type NumberName = 'f32' | 'f16' | 'bf16' | 'e4m3' | 'e5m2' | 'e2m1';

export interface NumberType {
  readonly name: NumberName;
  readonly bits: number;
  /** largest finite value */
  readonly max: number;
  /** value of bits; bits is unsigned */
  decode(bits: number): number;
  /** bits of the nearest value */
  encode(x: number): number;
  /** as encode, but beyond the largest finite value it gives that value */
  saturate(x: number): number;
  /** the nearest value */
  round(x: number): number;
}

/** How a small type is laid out: sign, exponent with a bias, fraction. */
interface Fields {
  readonly name: NumberName;
  readonly exponentBits: number;
  readonly fractionBits: number;
  readonly bias: number;
  /**
   * ieee: the largest exponent is infinity and NaN. nan: only the pattern of all ones is NaN, there
   * is no infinity. none: every pattern is a number.
   */
  readonly special: 'ieee' | 'nan' | 'none';
}

function decodeFields(f: Fields, bits: number): number {
  const sign = (bits >>> (f.exponentBits + f.fractionBits)) & 1 ? -1 : 1;
  const exponentMax = (1 << f.exponentBits) - 1;
  const hidden = 1 << f.fractionBits;
  const exponent = (bits >>> f.fractionBits) & exponentMax;
  const fraction = bits & (hidden - 1);
  const largest = exponent === exponentMax;
  if (f.special === 'ieee' && largest) return fraction ? Number.NaN : sign * Infinity;
  if (f.special === 'nan' && largest && fraction === hidden - 1) return Number.NaN;
  const quantum = powerOfTwo(Math.max(exponent, 1) - f.bias - f.fractionBits);
  return sign * (fraction + (exponent === 0 ? 0 : hidden)) * quantum;
}

/** x rounded to a whole number, ties to even; exact for |x| < 2^51. */
export function roundHalfEven(x: number): number {
  const shift = 2 ** 52;
  if (!(Math.abs(x) < shift)) return x;
  return x < 0 ? x - shift + shift : x + shift - shift;
}

/** x rounded to a whole number, ties away from zero, as C's roundf and round do. */
export function roundHalfAway(x: number): number {
  const whole = Math.trunc(x);
  // x - whole is exact, unlike x + 0.5.
  return Math.abs(x - whole) >= 0.5 ? whole + Math.sign(x) : whole;
}

function smallType(f: Fields): NumberType {
  const width = 1 + f.exponentBits + f.fractionBits;
  const signBit = 2 ** (width - 1);
  // Made when it is first asked for: every process that starts loads this file.
  let values: Float64Array | null = null;
  const decode = (bits: number): number => {
    values ??= Float64Array.from({ length: 2 ** width }, (_, i) => decodeFields(f, i));
    return values[bits];
  };
  // Magnitudes rise with their bits, so the last finite one is the largest.
  let maxBits = signBit - 1;
  while (!Number.isFinite(decodeFields(f, maxBits))) maxBits--;
  const max = decodeFields(f, maxBits);
  const nan = signBit - 1; // the largest number where every pattern is one
  /** where magnitudes stop to round to `max`: half a quantum above it (max is odd or even alike) */
  const lastQuantum = powerOfTwo(exponentOf(max) - f.fractionBits);
  const overflow = max + lastQuantum / 2;
  const maxIsOdd = maxBits % 2 === 1;

  const finite = (magnitude: number): number => {
    const exponent = Math.max(exponentOf(magnitude), 1 - f.bias);
    const quanta = roundHalfEven(magnitude / powerOfTwo(exponent - f.fractionBits));
    // A normal significand of 2^(fractionBits + 1) quanta carries into the exponent field.
    return (exponent + f.bias - 1) * 2 ** f.fractionBits + quanta;
  };
  const signed = (x: number, bits: number) => (x < 0 || Object.is(x, -0) ? signBit + bits : bits);
  const saturate = (x: number): number => {
    if (Number.isNaN(x)) return nan;
    return signed(x, finite(Math.min(Math.abs(x), max)));
  };
  const encode = (x: number): number => {
    if (Number.isNaN(x)) return nan;
    const magnitude = Math.abs(x);
    const isOver = maxIsOdd ? magnitude >= overflow : magnitude > overflow;
    if (!isOver) return signed(x, finite(Math.min(magnitude, max)));
    if (f.special === 'nan') return signed(x, nan);
    return signed(x, f.special === 'ieee' ? maxBits + 1 : maxBits);
  };
  return {
    name: f.name,
    bits: width,
    max,
    decode,
    encode,
    saturate,
    round: (x) => decode(encode(x)),
  };
}

export const bf16: NumberType = smallType({
  name: 'bf16',
  exponentBits: 8,
  fractionBits: 7,
  bias: 127,
  special: 'ieee',
});

export const e4m3: NumberType = smallType({
  name: 'e4m3',
  exponentBits: 4,
  fractionBits: 3,
  bias: 7,
  special: 'nan',
});

export const e5m2: NumberType = smallType({
  name: 'e5m2',
  exponentBits: 5,
  fractionBits: 2,
  bias: 15,
  special: 'ieee',
});

export const e2m1: NumberType = smallType({
  name: 'e2m1',
  exponentBits: 2,
  fractionBits: 1,
  bias: 1,
  special: 'none',
});

/** binary16 with the conversions of format.ts */
export const f16: NumberType = {
  name: 'f16',
  bits: 16,
  max: 65504,
  decode: (bits) => f16Values[bits],
  encode: f16FromF64,
  saturate: (x) => (Number.isNaN(x) ? 0x7fff : f16FromF64(Math.max(-65504, Math.min(65504, x)))),
  round: (x) => f16Values[f16FromF64(x)],
};

const f32Max = (2 - 2 ** -23) * 2 ** 127;
const f32Value = new Float32Array(1);
const f32Bits = new Uint32Array(f32Value.buffer);

function f32Encode(x: number): number {
  if (Number.isNaN(x)) return 0x7fffffff;
  f32Value[0] = x;
  return f32Bits[0];
}

/** binary32; Math.fround is its rounding */
export const f32: NumberType = {
  name: 'f32',
  bits: 32,
  max: f32Max,
  decode: (bits) => {
    f32Bits[0] = bits;
    return f32Value[0];
  },
  encode: f32Encode,
  saturate: (x) =>
    Number.isNaN(x) ? 0x7fffffff : f32Encode(Math.max(-f32Max, Math.min(f32Max, x))),
  round: Math.fround,
};

export const numberTypes: Readonly<Record<NumberName, NumberType>> = {
  f32,
  f16,
  bf16,
  e4m3,
  e5m2,
  e2m1,
};

/**
 * a * b + c of binary32 operands, rounded once to binary32 (fma.rn.f32).
 *
 * The product of 24-bit significands is exact in float64. The sum may not be: its rounding error e
 * is recovered exactly (Knuth's TwoSum), and a sum that lost bits is made odd, which stands for
 * "not a tie" in the second rounding ("rounding to odd": Boldo and Melquiond, IEEE TC 57(4), 2008;
 * float64 has 53 >= 24 + 2 bits).
 */
export function fmaF32(a: number, b: number, c: number): number {
  const product = a * b;
  const sum = product + c;
  if (!Number.isFinite(sum)) return Math.fround(sum);
  const back = sum - product;
  const error = product - (sum - back) + (c - back);
  return Math.fround(error === 0 ? sum : toOdd(sum, error));
}

const f64 = new Float64Array(1);
const words = new Uint32Array(f64.buffer);
f64[0] = 2 ** 52 + 1;
const low = words[0] === 1 ? 0 : 1;

/** The odd one of the two float64 around sum + error, where error is not 0. */
function toOdd(sum: number, error: number): number {
  f64[0] = sum;
  if (words[low] & 1) return sum;
  // Even: the neighbour on the side of the error is odd. Its magnitude differs by one in the bits.
  const away = error > 0 === sum > 0;
  if (away) {
    words[low] += 1; // even, so nothing carries
    return f64[0];
  }
  if (words[low] === 0) words[1 - low] -= 1;
  words[low] -= 1;
  return f64[0];
}
