// The generator behind every drawn tensor: counter-based, so value = f(seed, coordinates, index)
// and no value depends on how many were drawn before it. Frozen: generator.noreg.test.ts pins its
// bits, because a stored case must give the same tensor for ever. To change it, add a second one.
//
// A Key is 64 bits of state. `derive` mixes one coordinate into a key; `word` is the 32-bit value
// at an index under a key. The mixer is the finaliser of MurmurHash3 (Appleby, public domain), a
// bijection of 32 bits with full avalanche; two keyed rounds of it make a word. Integer operations
// and + - * / only, which every engine computes alike. Not for cryptography.

export interface Key {
  readonly a: number;
  readonly b: number;
}

/** 2^32 divided by the golden ratio, and MurmurHash3's two multipliers. */
const GOLDEN = 0x9e3779b9;
const MIX_1 = 0x85ebca6b;
const MIX_2 = 0xc2b2ae35;

function mix(x: number): number {
  let h = x;
  h = Math.imul(h ^ (h >>> 16), MIX_1);
  h = Math.imul(h ^ (h >>> 13), MIX_2);
  return h ^ (h >>> 16);
}

/** The key of a seed (uint32) within a stream, e.g. one tensor of a case. */
export function keyOf(seed: number, stream: number): Key {
  return derive({ a: mix(seed ^ GOLDEN), b: mix(seed + MIX_1) }, stream);
}

/** The key of one coordinate below a key. */
export function derive(key: Key, coordinate: number): Key {
  const step = Math.imul(coordinate + 1, GOLDEN);
  return { a: mix(key.a ^ step), b: mix(Math.imul(key.b, MIX_2) + step) };
}

/** uint32. */
export function word(key: Key, index: number): number {
  const first = mix(Math.imul(index, GOLDEN) ^ key.a);
  return mix(first + key.b) >>> 0;
}

/** Uniform in [-1, 1), a multiple of 2^-31. */
export function uniform(key: Key, index: number): number {
  return (word(key, index) - 0x80000000) / 0x80000000;
}

/** Integer in [0, count), count at most 2^16: bias below 2^-16. */
export function below(key: Key, index: number, count: number): number {
  return Math.floor((word(key, index) / 0x100000000) * count);
}

/**
 * Irwin-Hall: the sum of four uniform 16-bit integers, centred and divided by its standard
 * deviation sqrt(4 * (2^32 - 1) / 12) = 37837.2. Bell-shaped, in [-3.47, 3.47]; no logarithm, no
 * cosine.
 */
export function normal(key: Key, index: number): number {
  const x = word(key, 2 * index);
  const y = word(key, 2 * index + 1);
  const sum = (x & 0xffff) + (x >>> 16) + (y & 0xffff) + (y >>> 16);
  return (sum - 131070) / 37837;
}
