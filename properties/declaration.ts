// declaration: what a kernel declares, it accepts. The counterpart of refusal: the simplest problem
// of every format of the declaration, and each limit reached in the case's own format, with nothing
// else that could be a reason to decline. A width that is declared and never accepted would look
// like a kernel that passes everything, since a case that is declined is not judged. Nothing is
// launched: the answer of supports() is judged.

import { caseSchemeError } from '../reference/formats/case-scheme.js';
import { recordTokens, type Scheme } from '../reference/scheme.js';
import { CASE_SCHEMA, type Case } from './case.js';
import { undeclared } from './declared.js';
import type { Capabilities, FormatSupport } from './kernel.js';
import type { Judgement, Property, Verdict } from './property.js';

/** Of a request with a page table that is as wide as it must be. */
const RECORDS = 2;

interface Within {
  /** A word for the signature. */
  readonly rule: string;
  /** What was asked, for the message. */
  readonly asked: string;
  readonly case: Case;
}

/** One request of one token block, one head: nothing but the format. */
function simplest(c: Case, capabilities: Capabilities, change: Partial<Case['problem']>): Case {
  const { headSize, type } = c.problem;
  const tokens = [capabilities.tokensMultiple ?? 1];
  return {
    schema: CASE_SCHEMA,
    problem: {
      ...{ tokens, queryHeads: 1, kvHeads: 1, headSize },
      ...(type === undefined ? {} : { type }),
      ...change,
    },
    scheme: c.scheme,
    tensors: c.tensors,
    options: { softmaxScale: c.options.softmaxScale, splits: 0 },
  };
}

/** Every combination of an entry of the declaration. */
function combinations(c: Case, capabilities: Capabilities, entry: FormatSupport): Within[] {
  const { format } = entry;
  return entry.kAxis.flatMap((kAxis) =>
    entry.bits.flatMap((bits) =>
      entry.groups.flatMap((group) =>
        entry.headSizes.flatMap((headSize) =>
          (entry.types ?? ['fp16']).map((type) => {
            const of = `${format} by ${kAxis}, ${bits} bits, groups of ${group}`;
            const scheme = { format, kAxis, bits, group } as unknown as Scheme;
            return {
              rule: 'format',
              asked: `${of}, head size ${headSize}, ${type}`,
              case: { ...simplest(c, capabilities, { headSize, type }), scheme },
            };
          }),
        ),
      ),
    ),
  );
}

/** Page tables, appending and strides, as far as they are declared. */
function features(c: Case, capabilities: Capabilities): Within[] {
  const { paged, append, strided, tokensMax, tokensMultiple = 1 } = capabilities;
  const length = Math.min(RECORDS * recordTokens, tokensMax);
  const tokens = [length - (length % tokensMultiple)];
  const withOptions = (asked: string, change: Partial<Case['options']>): Within => {
    const base = simplest(c, capabilities, { tokens });
    return { rule: 'option', asked, case: { ...base, options: { ...base.options, ...change } } };
  };
  const pages = { order: 'reversed', seed: 0, spare: 0, sharedRecords: 0 } as const;
  return [
    ...(paged === true ? [withOptions('a page table', { pages })] : []),
    ...(append === true ? [withOptions('an appended token', { appended: 1 })] : []),
    ...(strided === true ? [withOptions('rows apart', { inputPadding: 8 })] : []),
  ];
}

/** Cases that a declaration promises, `c` being one of the kernel's. */
export function declaredCases(c: Case, capabilities: Capabilities): Within[] {
  const { formats, tokensMax, tokensMultiple = 1, headsPerKvMax } = capabilities;
  const { queryTokensMax = 1 } = capabilities;
  const tokens = tokensMax - (tokensMax % tokensMultiple);
  const limit = (rule: string, asked: string, change: Partial<Case['problem']>): Within => ({
    ...{ rule, asked },
    case: simplest(c, capabilities, change),
  });
  return [
    limit('tokens', `${tokens} tokens`, { tokens: [tokens] }),
    limit('heads', `${headsPerKvMax} query heads on a KV head`, { queryHeads: headsPerKvMax }),
    limit('query-tokens', `${queryTokensMax} query tokens`, { queryTokens: queryTokensMax }),
    ...features(c, capabilities),
    ...formats.flatMap((entry) => combinations(c, capabilities, entry)),
  ];
}

/** A kernel that declares itself complete accepts this case. */
function isPromised(c: Case, capabilities: Capabilities): boolean {
  const isPossible = caseSchemeError(c.scheme, c.problem) === null;
  return capabilities.complete === true && isPossible && undeclared(capabilities, c) === null;
}

export const declaration: Property = {
  name: 'declaration',
  statement:
    'A kernel accepts the simplest problem of every format and with every option that it ' +
    'declares, and each limit that it declares; and every case, if it declares to be complete.',
  blind:
    'That what is accepted also runs; of kernels that do not declare to be complete, formats and ' +
    'limits that are reached together.',
  oneIn: 4,
  ofAnswers: true,

  judge(judgement: Judgement): Verdict {
    const { kernel, case: c } = judgement;
    const declined = isPromised(c, kernel.capabilities) ? kernel.supports(c) : null;
    if (declined !== null) {
      const message = `supports: found "${declined}", required null as all that is declared`;
      return { kind: 'fail', signature: 'declaration/declined', message };
    }
    const within = declaredCases(c, kernel.capabilities);
    for (const { rule, asked, case: declared } of within) {
      const reason = kernel.supports(declared);
      if (reason === null) continue;
      const message = `supports: found "${reason}" for ${asked}, required null as declared`;
      return { kind: 'fail', signature: `declaration/${rule}`, message };
    }
    return { kind: 'pass', elements: within.length, ratio: 0 };
  },
};
