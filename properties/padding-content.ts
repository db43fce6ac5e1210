// padding-content: what memory holds behind the last token, and before a launch, does not matter.
// The poison of the first run is NaN, that of the second finite and moderate; here it is zero
// (which a forgotten initialisation gets away with elsewhere) and nearly the largest fp16, whose
// scores win.

import type { Judgement, Property, Verdict } from './property.js';
import { notDeterministic, sameBits } from './same-bits.js';

/** As fp16: 0 and 63,328. */
const POISONS = [0x00, 0x7b];

export const paddingContent: Property = {
  name: 'padding-content',
  statement:
    'The same bits whether outputs, workspace and the rows behind the last token held zeros, ' +
    'huge numbers or NaN before.',
  blind: 'Padding that is read and multiplied by an exact zero; memory of other owners.',
  oneIn: 8,

  judge(judgement: Judgement): Verdict {
    if (!judgement.kernel.capabilities.deterministic) return notDeterministic;
    const base = judgement.base();
    if (base.kind === 'failed') return base.verdict;
    let elements = 0;
    for (const poison of POISONS) {
      const second = judgement.run(judgement.inputs, { poison });
      if (second.kind === 'failed') return second.verdict;
      const what = `over memory of 0x${poison.toString(16).padStart(2, '0')}`;
      const verdict = sameBits('padding-content', judgement, base.value, second.value, what);
      if (verdict.kind !== 'pass') return verdict;
      elements += verdict.elements;
    }
    return { kind: 'pass', elements, ratio: 0 };
  },
};
