/**
 * Number formats: IEEE binary16 and bfloat16 to and from float64, and rounding to 11 significant
 * bits.
 *
 * f16FromF64 rounds a float64 once, to nearest even; going through binary32 would round twice. Of a
 * result that is normal, the exponent and the leading fraction bits are cut out of the float64's
 * high word, and what was cut off decides whether one is added; a carry runs into the exponent, at
 * the top to infinity, which is what overflow asks for: halfway from the largest finite value 65504
 * to 65536 is a tie that goes up. Below that, adding 2^52 quanta to |x| leaves |x| / quantum,
 * rounded to an integer, in the low word of the sum, because there the float64 grid equals the
 * quantum and 2^52 is an even number of them.
 * NaN becomes 0x7FFF, the value that the GPU's own conversion gives; payloads are not kept.
 */
const f64 = new Float64Array(1);
/** low and high word of f64[0], in this order on any machine */
const words = new Uint32Array(f64.buffer);
f64[0] = 2 ** 52 + 1;
const low = words[0] === 1 ? 0 : 1;
const high = 1 - low;

/** floor(log2 |x|) of a normal float64; -1023 for zero and subnormals, 1024 for Inf and NaN. */
export function exponentOf(x: number): number {
  f64[0] = x;
  return ((words[high] >>> 20) & 0x7ff) - 1023;
}

/** 2^(i - 1022), (2046); doubling is exact, whatever the engine's pow does */
const powers = new Float64Array(2046);
powers[0] = 2 ** -1022;
for (let i = 1; i < powers.length; i++) powers[i] = 2 * powers[i - 1];

/** 2^exponent for -1022 <= exponent <= 1023. */
export function powerOfTwo(exponent: number): number {
  return powers[exponent + 1022];
}

/** Bits of the binary16 nearest to x, ties to even. */
export function f16FromF64(x: number): number {
  f64[0] = x;
  const word = words[high];
  const magnitude = word & 0x7fffffff;
  const sign = (word >>> 16) & 0x8000;
  // From 2^-14 to below 2^16, in float64's high word.
  if (magnitude >= 0x3f100000 && magnitude < 0x40f00000) {
    const bits = (magnitude >>> 10) - (1008 << 10);
    const rest = magnitude & 0x3ff;
    const isUp = rest > 0x200 || (rest === 0x200 && (words[low] !== 0 || (bits & 1) === 1));
    return sign | (isUp ? bits + 1 : bits);
  }
  if (Number.isNaN(x)) return 0x7fff;
  if (magnitude >= 0x40f00000) return sign | 0x7c00;
  f64[0] = Math.abs(x) + 2 ** (52 - 24);
  return sign | (words[low] & 0xfff);
}

function makeF16Values(): Float64Array {
  const values = new Float64Array(65536);
  for (let exponent = 0; exponent < 31; exponent++) {
    const quantum = powerOfTwo(Math.max(exponent, 1) - 25);
    const hidden = exponent === 0 ? 0 : 1024;
    for (let fraction = 0; fraction < 1024; fraction++) {
      const bits = (exponent << 10) | fraction;
      values[bits] = (hidden + fraction) * quantum;
      values[bits | 0x8000] = -values[bits];
    }
  }
  for (const sign of [0, 0x8000]) {
    values.fill(Number.NaN, sign + 0x7c00, sign + 0x8000);
    values[sign + 0x7c00] = sign === 0 ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
  }
  return values;
}

/** The value of every binary16, (65536), indexed by its bits. */
export const f16Values: Float64Array = makeF16Values();

export function f64FromF16(bits: number): number {
  return f16Values[bits];
}

/** Types of 16-bit words that tensors come in: binary16, or binary32 cut to 8 significant bits. */
export type ElementType = 'fp16' | 'bf16';

/** Bits of the bfloat16 nearest to x, ties to even; NaN becomes 0x7FFF, as for binary16. */
export function bf16FromF64(x: number): number {
  f64[0] = x;
  const word = words[high];
  const magnitude = word & 0x7fffffff;
  const sign = (word >>> 16) & 0x8000;
  // From 2^-126 to below 2^128.
  if (magnitude >= 0x38100000 && magnitude < 0x47f00000) {
    const bits = (magnitude >>> 13) - (896 << 7);
    const rest = magnitude & 0x1fff;
    const isUp = rest > 0x1000 || (rest === 0x1000 && (words[low] !== 0 || (bits & 1) === 1));
    return sign | (isUp ? bits + 1 : bits);
  }
  if (Number.isNaN(x)) return 0x7fff;
  if (magnitude >= 0x47f00000) return sign | 0x7f80;
  f64[0] = Math.abs(x) + 2 ** (52 - 133);
  return sign | (words[low] & 0xfff);
}

function makeBf16Values(): Float64Array {
  const bits = new Uint32Array(65536);
  for (let word = 0; word < bits.length; word++) bits[word] = word << 16;
  return new Float64Array(new Float32Array(bits.buffer));
}

/** The value of every bfloat16, (65536), indexed by its bits: the upper half of a binary32. */
export const bf16Values: Float64Array = makeBf16Values();

/** The value of every word of a type, (65536). */
export function elementValues(type: ElementType): Float64Array {
  return type === 'bf16' ? bf16Values : f16Values;
}

/** The word of a type nearest to x. */
export function elementFromF64(type: ElementType, x: number): number {
  return type === 'bf16' ? bf16FromF64(x) : f16FromF64(x);
}

/** Words of a type nearest to x, into `out` or a new array of the same length. */
export function elementWords(
  type: ElementType,
  x: Float64Array,
  out = new Uint16Array(x.length),
): Uint16Array {
  const toWord = type === 'bf16' ? bf16FromF64 : f16FromF64;
  for (let i = 0; i < x.length; i++) out[i] = toWord(x[i]);
  return out;
}

/** x rounded once to a value of a type. */
export function elementRound(type: ElementType, x: number): number {
  return elementValues(type)[elementFromF64(type, x)];
}

/** Values of words of a type, into `out` or a new array of the same length. */
export function f64Array(
  bits: Uint16Array,
  out: Float64Array = new Float64Array(bits.length),
  type: ElementType = 'fp16',
): Float64Array {
  const values = elementValues(type);
  for (let i = 0; i < bits.length; i++) out[i] = values[bits[i]];
  return out;
}

/**
 * By the exponent field of x: a number whose last bit counts 2^-10 of x's leading one, 2^(exponent
 * + 42). 0 where x stays as it is: zero, Inf and NaN, and what is too large for such a number.
 */
const grids = new Float64Array(2048);
for (let field = 1; field <= 2046 - 42; field++) grids[field] = powerOfTwo(field - 1023 + 42);

/**
 * x rounded to 11 significant bits, ties to even, with no limit on the exponent: what binary16
 * rounding does to a product that a kernel keeps in range by a power of two. x is zero or normal,
 * and below 2^982.
 */
export function significand11(x: number): number {
  f64[0] = x;
  const grid = grids[(words[high] >>> 20) & 0x7ff];
  return x < 0 ? x - grid + grid : x + grid - grid;
}

/**
 * x rounded once to binary16, as a float64: f64FromF16(f16FromF64(x)) without a look into a table
 * that no first-level cache holds.
 */
export function f16Round(x: number): number {
  const magnitude = Math.abs(x);
  if (magnitude >= 2 ** -14 && magnitude < 65504) return significand11(x);
  if (magnitude < 2 ** -14 && magnitude > 0) {
    const quanta = magnitude + 2 ** (52 - 24) - 2 ** (52 - 24);
    return x < 0 ? -quanta : quanta;
  }
  return f16Values[f16FromF64(x)];
}
