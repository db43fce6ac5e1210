// reported-sizes: what a kernel says that it uses is what the case asks for: the number of splits
// where one is given, and the pages of the pool, or one for every record where there is no table.
// Results cannot tell: any number of splits gives one within the bound, so an option that is
// accepted and ignored shows here and nowhere else.

import { pageCount } from '../reference/page-table.js';
import { pageTable } from './pages.js';
import type { Judgement, Property, Verdict } from './property.js';

export const reportedSizes: Property = {
  name: 'reported-sizes',
  statement:
    'A kernel reports the pages of its pool or of its records and, if it promises bits where ' +
    'splits are given, the number that the case gives.',
  blind: 'A kernel that reports one number and uses another.',

  judge(judgement: Judgement): Verdict {
    const { case: c } = judgement;
    const { capabilities } = judgement.kernel;
    const base = judgement.base();
    if (base.kind === 'failed') return base.verdict;
    const { pages, splits } = base.value;
    if (pages === undefined || splits === undefined) {
      return { kind: 'unsupported', reason: 'the kernel does not say' };
    }
    const needed = pageCount(c.problem, pageTable(c));
    if (pages !== needed) {
      const message = `sizes.pages: found ${pages}, required ${needed}`;
      return { kind: 'fail', signature: 'reported-sizes/pages', message };
    }
    // A kernel that promises something where splits are pinned lets them be pinned.
    const asked = capabilities.batchInvariant === true ? c.options.splits : 0;
    if (asked === 0 ? splits < 1 : splits !== asked) {
      const required = asked === 0 ? 'at least 1' : `${asked} as the case gives it`;
      const message = `sizes.splits: found ${splits}, required ${required}`;
      return { kind: 'fail', signature: 'reported-sizes/splits', message };
    }
    return { kind: 'pass', elements: 2, ratio: 0 };
  },
};
