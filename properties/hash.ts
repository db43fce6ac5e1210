// FNV-1a, 64 bits, over the bytes of an ASCII text: the name of a Case.
//
// h = (h xor byte) * 0x100000001b3 mod 2^64, from 0xcbf29ce484222325, held as two 32-bit halves so
// that a literal tensor of megabytes costs no BigInt per byte. It names things; it resists nobody.
// Source: Fowler, Noll, Vo, "The FNV Non-Cryptographic Hash Algorithm" (IETF draft), section 5.

const OFFSET_HIGH = 0xcbf29ce4;
const OFFSET_LOW = 0x84222325;
/** The prime is 2^40 + 0x1b3. */
const PRIME_LOW = 0x1b3;

/** 16 lower-case hex digits. Characters beyond 0xff are folded in as two bytes, low byte first. */
export function fnv1a64(text: string): string {
  let high = OFFSET_HIGH;
  let low = OFFSET_LOW;
  const feed = (byte: number) => {
    low = (low ^ byte) >>> 0;
    const product = low * PRIME_LOW; // below 2^41: exact
    const shifted = low << 8; // low * 2^40, upper half
    high = (Math.imul(high, PRIME_LOW) + Math.floor(product / 0x100000000) + shifted) >>> 0;
    low = product >>> 0;
  };
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    feed(unit & 0xff);
    if (unit > 0xff) feed(unit >> 8);
  }
  return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0');
}
