// same-bits: two runs of one case compared byte for byte, wherever a byte must be defined. For
// relations in which nothing but the surroundings changes: schedule, poison, history.

import { type DefinedRegion, definedRegions } from './defined-bytes.js';
import type { Ran } from './kernel.js';
import type { Judgement, Verdict } from './property.js';

/**
 * `what` says in two or three words how the second run differs, e.g. "in the second run";
 * `included`: the buffers that are compared.
 */
export function sameBits(
  property: string,
  judgement: Judgement,
  first: Ran,
  second: Ran,
  what: string,
  included: (buffer: DefinedRegion['buffer']) => boolean = () => true,
): Verdict {
  const c = judgement.case;
  const others = definedRegions(c, second);
  let elements = 0;
  for (const [i, { buffer, offset, bytes }] of definedRegions(c, first).entries()) {
    if (!included(buffer)) continue;
    const place = others[i];
    if (place?.buffer !== buffer || place.offset !== offset) {
      const message = `${buffer}: not there ${what}, required as in the first`;
      return { kind: 'fail', signature: `${property}/${buffer}`, message };
    }
    const other = place.bytes;
    const at = firstDifference(bytes, other);
    if (at !== -1) {
      const found = `${other[at]} ${what} at byte ${offset + at}`;
      return {
        kind: 'fail',
        signature: `${property}/${buffer}`,
        message: `${buffer}: found ${found}, required ${bytes[at]} as in the first`,
      };
    }
    elements += bytes.length;
  }
  return { kind: 'pass', elements, ratio: 0 };
}

/** Place of the first byte that differs; -1: none, the usual case, which costs no call a byte. */
export function firstDifference(bytes: Uint8Array, other: Uint8Array): number {
  if (Buffer.compare(bytes, other) === 0) return -1;
  return bytes.findIndex((byte, place) => byte !== other[place]);
}

/** Verdict on a kernel that does not promise what a comparison of bits needs. */
export const notDeterministic: Verdict = {
  kind: 'unsupported',
  reason: 'the kernel does not declare equal bits on every run',
};
