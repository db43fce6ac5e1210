// page-order: where the pages of a request lie does not matter. The same tokens behind another page
// table, or behind none, give the same bits in every record and every row: a kernel that takes the
// next page for the page of the next record, or a request's index for that of its table, does not.
// Pages that requests shared lie apart in the second run, so that sharing does not show either.

import type { Case, CaseOptions, PageOptions } from './case.js';
import { type Derived, judgeDerived } from './derived.js';
import { type Key, word } from './generator.js';
import type { Inputs } from './kernel.js';
import type { Judgement, Property, Verdict } from './property.js';
import { rowPlaces } from './rows.js';
import { notDeterministic } from './same-bits.js';

const NAME = 'page-order';

/** No table where there was one, half of the time; else another order of another pool. */
function otherPages({ pages, ...rest }: CaseOptions, key: Key): CaseOptions {
  if (pages !== undefined && (word(key, 0) & 1) === 0) return rest;
  const order: PageOptions = {
    order: pages?.order === 'shuffled' ? 'reversed' : 'shuffled',
    seed: word(key, 1),
    spare: word(key, 2) % 5,
    sharedRecords: 0,
  };
  return { ...rest, pages: order };
}

function elsewhere(c: Case, inputs: Inputs, key: Key): Derived {
  const places = rowPlaces(c.problem);
  const heads = c.problem.tokens.length * c.problem.kvHeads;
  return {
    case: { ...c, options: otherPages(c.options, key) },
    inputs,
    rows: Int32Array.from(places.keys()),
    heads: Int32Array.from({ length: heads }, (_, i) => i),
  };
}

export const pageOrder: Property = {
  name: NAME,
  statement:
    'The same tokens behind another page table, or behind none, give the same bits in every ' +
    'record and every row, shared pages or not.',
  blind: 'Page tables that the host refuses; the speed of pages that lie far apart.',
  oneIn: 2,

  judge(judgement: Judgement): Verdict {
    const { case: c, inputs, kernel } = judgement;
    if (kernel.capabilities.paged !== true) {
      return { kind: 'unsupported', reason: 'the kernel does not declare page tables' };
    }
    if (!kernel.capabilities.deterministic) return notDeterministic;
    const derived = elsewhere(c, inputs, judgement.key(NAME));
    return judgeDerived(NAME, judgement, derived, true);
  },
};
