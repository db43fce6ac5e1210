// seed.ts - the one source of randomness of a campaign.
//
// Case i of a campaign is a function of (seed, i) and of the kernel's capabilities, and of nothing
// else: not of the number of workers, nor of the order in which they finish, nor of the clock. A
// stream is xoshiro128** (Blackman and Vigna, 2018), its state the first 16 bytes of
// SHA-256("kvproof/1 <seed> <index>"). It is written out here, 20 lines, so that a seed keeps its
// meaning when a package changes.
//
// A seed is a number or a git hash: continuous integration passes the commit, so that every commit
// looks at new cases and each of them can be run again from the commit alone.

import { createHash } from 'node:crypto';
import * as fc from 'fast-check';

export type Seed = number | string;

export type SeedResult = { kind: 'seed'; seed: Seed } | { kind: 'error'; message: string };

/** Decimal digits are a number; else 7 to 64 hexadecimal digits are a git hash. */
export function parseSeed(text: string): SeedResult {
  if (/^\d{1,16}$/.test(text) && Number(text) <= Number.MAX_SAFE_INTEGER) {
    return { kind: 'seed', seed: Number(text) };
  }
  const lower = text.toLowerCase();
  if (/^[0-9a-f]{7,64}$/.test(lower)) return { kind: 'seed', seed: lower };
  return {
    kind: 'error',
    message: `--seed: "${text}" is neither a number from 0 to 2^53 - 1 nor a git hash`,
  };
}

class Xoshiro128 {
  /** state: (4) uint32 */
  constructor(private readonly state: Uint32Array) {}

  clone(): Xoshiro128 {
    return new Xoshiro128(this.state.slice());
  }

  /** A value in -2^31 .. 2^31 - 1. */
  next(): number {
    const s = this.state;
    const x = Math.imul(s[1], 5);
    const result = Math.imul((x << 7) | (x >>> 25), 9);
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 11) | (s[3] >>> 21);
    return result | 0;
  }

  getState(): readonly number[] {
    return [...this.state];
  }
}

/** The random stream of case `index`. */
export function streamOf(seed: Seed, index: number): fc.Random {
  const digest = createHash('sha256').update(`kvproof/1 ${seed} ${index}`).digest();
  const state = new Uint32Array(4);
  for (let i = 0; i < 4; i++) state[i] = digest.readUInt32LE(4 * i);
  if (state.every((word) => word === 0)) state[0] = 1; // the one state that xoshiro cannot leave
  return new fc.Random(new Xoshiro128(state));
}

/**
 * Value `index` of an arbitrary. Late cases are biased less to the edges, as in fast-check's
 * runner.
 */
export function drawAt<T>(arbitrary: fc.Arbitrary<T>, seed: Seed, index: number): T {
  const bias = 2 + Math.floor(Math.log10(index + 1));
  return arbitrary.generate(streamOf(seed, index), bias).value;
}
