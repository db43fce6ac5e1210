// far-pages: where the pool of pages begins does not matter. The second run has the same pages
// behind 4 GiB of pool that nobody touches, so that every offset of a record outgrows 32 bits:
// a product of two 32-bit numbers, or an offset that is kept in one, leads elsewhere. A pool of
// that size is usual in serving, and no test that fills its pool has one.

import { recordBytes } from '../reference/pack.js';
import { packedTokens } from '../reference/page-table.js';
import type { Case, PageOptions } from './case.js';
import { type Derived, judgeDerived } from './derived.js';
import type { Inputs } from './kernel.js';
import type { Judgement, Property, Verdict } from './property.js';
import { rowPlaces } from './rows.js';
import { notDeterministic } from './same-bits.js';

const NAME = 'far-pages';

/** Bytes of pool before the first page of the case. */
const SKIPPED = 2 ** 32;

const IN_A_ROW_REVERSED: PageOptions = { order: 'reversed', seed: 0, spare: 0, sharedRecords: 0 };

function behind(c: Case, inputs: Inputs): Derived {
  const { problem, scheme, options } = c;
  const pageBytes = recordBytes(scheme, problem.headSize) * problem.kvHeads;
  const heads = problem.tokens.length * problem.kvHeads;
  return {
    case: { ...c, options: { ...options, pages: options.pages ?? IN_A_ROW_REVERSED } },
    inputs,
    rows: Int32Array.from(rowPlaces(problem).keys()),
    heads: Int32Array.from({ length: heads }, (_, i) => i),
    options: { firstPage: Math.ceil(SKIPPED / pageBytes) },
  };
}

export const farPages: Property = {
  name: NAME,
  statement:
    'The same pages behind 4 GiB of a pool give the same bits in every record and every row.',
  blind: 'Offsets that outgrow 32 bits in other tensors, and those that need more than 33.',
  oneIn: 3,

  judge(judgement: Judgement): Verdict {
    const { case: c, inputs, kernel } = judgement;
    const { farPages: can, paged, deterministic } = kernel.capabilities;
    if (can !== true || paged !== true) {
      return { kind: 'unsupported', reason: 'pages cannot be put so far away' };
    }
    if (!deterministic) return notDeterministic;
    if (!c.problem.tokens.some((n) => packedTokens(n) > 0)) {
      return { kind: 'unsupported', reason: 'no request fills a page' };
    }
    return judgeDerived(NAME, judgement, behind(c, inputs), true);
  },
};
