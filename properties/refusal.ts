// refusal: what a kernel does not declare, it declines when it is asked. Each case here is one step
// outside of the declaration: another width, group, head size, axis or format, a token or a query
// head too many. Nothing is launched: the answer of supports() is judged.

import type { Scheme } from '../reference/scheme.js';
import type { Case, CaseOptions } from './case.js';
import type { Capabilities } from './kernel.js';
import type { Judgement, Property, Verdict } from './property.js';

export interface Beyond {
  /** A word for the signature. */
  readonly rule: string;
  /** What was asked, for the message. */
  readonly asked: string;
  readonly case: Case;
}

/** Query tokens, pages, appending and strides, as far as they are not declared. */
function optionsBeyond(c: Case, capabilities: Capabilities): Beyond[] {
  const { queryTokensMax = 1 } = capabilities;
  const withOption = (rule: string, change: Partial<CaseOptions>): Beyond => ({
    ...{ rule, asked: `options.${Object.keys(change)[0]}` },
    case: { ...c, options: { ...c.options, ...change } },
  });
  const pages = { order: 'shuffled', seed: 1, spare: 1, sharedRecords: 0 } as const;
  const beyond: Beyond[] = [
    {
      ...{ rule: 'query-tokens', asked: `${queryTokensMax + 1} query tokens` },
      case: { ...c, problem: { ...c.problem, queryTokens: queryTokensMax + 1 } },
    },
  ];
  if (capabilities.paged !== true) beyond.push(withOption('pages', { pages }));
  if (capabilities.append !== true) beyond.push(withOption('append', { appended: 1 }));
  if (capabilities.strided !== true) beyond.push(withOption('strides', { inputPadding: 8 }));
  return beyond;
}

/** Cases that differ from `c` in one thing that is not declared. */
export function undeclaredCases(c: Case, capabilities: Capabilities): Beyond[] {
  const { formats, tokensMax, headsPerKvMax } = capabilities;
  const withScheme = (change: object) => ({
    ...c,
    scheme: { ...c.scheme, ...change } as unknown as Scheme,
  });
  const withProblem = (change: object) => ({ ...c, problem: { ...c.problem, ...change } });
  const absent = <T>(values: readonly T[], declared: readonly T[]) =>
    values.filter((value) => !declared.includes(value));
  const all = <T>(of: (format: Capabilities['formats'][number]) => readonly T[]) =>
    formats.flatMap(of);
  return [
    ...absent(
      [1, 2, 3, 4, 5, 8, 16],
      all((f) => f.bits),
    ).map((bits) => ({
      ...{ rule: 'bits', asked: `${bits} bits`, case: withScheme({ bits }) },
    })),
    ...absent(
      [16, 32, 48, 64, 127, 128, 256],
      all((f) => f.groups),
    ).map((group) => ({
      ...{ rule: 'group', asked: `groups of ${group}`, case: withScheme({ group }) },
    })),
    ...absent(
      ['channel', 'token', 'head'],
      all((f) => f.kAxis),
    ).map((kAxis) => ({
      ...{ rule: 'axis', asked: `K by ${kAxis}`, case: withScheme({ kAxis }) },
    })),
    ...absent(
      ['bitdecoding', 'kivi', 'int4'],
      all((f) => [f.format]),
    ).map((format) => ({
      ...{ rule: 'format', asked: `the format "${format}"`, case: withScheme({ format }) },
    })),
    ...absent(
      [32, 64, 96, 127, 128, 129, 256],
      all((f) => f.headSizes),
    ).map((headSize) => ({
      ...{ rule: 'head-size', asked: `head size ${headSize}`, case: withProblem({ headSize }) },
    })),
    ...absent(
      ['fp16', 'bf16'],
      all((f) => f.types ?? ['fp16']),
    ).map((type) => ({
      ...{ rule: 'type', asked: `the type ${type}`, case: withProblem({ type }) },
    })),
    ...optionsBeyond(c, capabilities),
    {
      rule: 'tokens',
      asked: `${tokensMax + 1} tokens`,
      case: withProblem({ tokens: c.problem.tokens.with(-1, tokensMax + 1) }),
    },
    {
      rule: 'heads',
      asked: `${headsPerKvMax + 1} query heads on a KV head`,
      case: withProblem({ queryHeads: c.problem.kvHeads * (headsPerKvMax + 1) }),
    },
  ];
}

export const refusal: Property = {
  name: 'refusal',
  statement:
    'A kernel declines every case that its declaration excludes: width, group, axis, format, ' +
    'head size, type, length, heads, query tokens, pages, appended tokens and strides; and every ' +
    'wrong argument of its interface, without touching anything; a limit that it states is one.',
  blind: 'Buffers that are smaller than the kernel asked for, since a pointer has no size.',
  oneIn: 4,

  judge(judgement: Judgement): Verdict {
    const { kernel } = judgement;
    const beyond = undeclaredCases(judgement.case, kernel.capabilities);
    for (const { rule, asked, case: c } of beyond) {
      const answer = kernel.answer === undefined ? kernel.supports(c) : kernel.answer(c);
      if (answer !== null) continue;
      const message = `supports: found null for ${asked}, required a reason to decline`;
      return { kind: 'fail', signature: `refusal/${rule}`, message };
    }
    const unrefused = kernel.unrefused?.(judgement.case) ?? [];
    for (const { call, fault, found, required } of unrefused) {
      const message = `${call}: found ${found} for ${fault}, required ${required}`;
      return { kind: 'fail', signature: `refusal/${call}`, message };
    }
    return { kind: 'pass', elements: beyond.length, ratio: 0 };
  },
};
