// redzone: the laws of memory. Nothing outside a kernel's buffers is written, no input changes,
// every byte of the result is written, and an emulator that checks accesses has nothing to report.
//
// "Written" is decided by two runs with different poisons: a byte that still holds the poison in
// both was not written, whatever values are legitimate. Both runs count for the other laws too,
// since the second one is scheduled by an adversary.

import { definedRegions, spareRegions } from './defined-bytes.js';
import { FIRST_POISON, SECOND_POISON } from './judgement.js';
import type { Ran } from './kernel.js';
import { brokenLaw } from './memory-law.js';
import type { Judgement, Property, Verdict } from './property.js';

function unwritten(judgement: Judgement, first: Ran, second: Ran): Verdict | null {
  const c = judgement.case;
  const others = definedRegions(c, second);
  for (const [i, { buffer, offset, bytes }] of definedRegions(c, first).entries()) {
    const other = others[i].bytes;
    let at = 0;
    while (at < bytes.length && !(bytes[at] === FIRST_POISON && other[at] === SECOND_POISON)) at++;
    if (at === bytes.length) continue;
    return {
      kind: 'fail',
      signature: `redzone/unwritten-${buffer}`,
      message: `${buffer}: found the poison of two runs at byte ${offset + at}, required a value`,
    };
  }
  return null;
}

/** A byte written in a page that no request owns, or null. */
function strayWrite(judgement: Judgement, ran: Ran, poison: number): Verdict | null {
  for (const { offset, bytes } of spareRegions(judgement.case, ran)) {
    let at = 0;
    while (at < bytes.length && bytes[at] === poison) at++;
    if (at === bytes.length) continue;
    const found = `found ${bytes[at]} at byte ${offset + at}, in a page of no request`;
    return {
      kind: 'fail',
      signature: 'redzone/spare-page',
      message: `cache: ${found}, required ${poison} as before the run`,
    };
  }
  return null;
}

export const redzone: Property = {
  name: 'redzone',
  statement:
    'Nothing outside the buffers or in pages of no request is written, inputs stay as they are, ' +
    'every byte of the result is written, and a checking emulator reports nothing.',
  blind:
    'Wrong values; reads out of bounds and races, unless the kernel runs on a checking emulator; ' +
    'writes beyond the redzones.',

  judge(judgement: Judgement): Verdict {
    const base = judgement.base();
    if (base.kind === 'failed') return base.verdict;
    const broken = brokenLaw('redzone', base.value);
    if (broken !== null) return broken;
    const again = judgement.again();
    if (again.kind === 'failed') return again.verdict;
    const failed =
      brokenLaw('redzone', again.value) ??
      unwritten(judgement, base.value, again.value) ??
      strayWrite(judgement, base.value, FIRST_POISON) ??
      strayWrite(judgement, again.value, SECOND_POISON);
    if (failed !== null) return failed;
    const regions = definedRegions(judgement.case, base.value);
    const elements = regions.reduce((sum, { bytes }) => sum + bytes.length, 0);
    return { kind: 'pass', elements, ratio: 0 };
  },
};
