// Declared: what of a case lies outside of a kernel's declaration, in one sentence. One answer for
// every kernel, so that what is not declared is declined alike, before anything runs; a kernel may
// have further reasons of its own.

import { elementType, queriesPerKvHead, queryTokenCount } from '../reference/problem.js';
import type { Case } from './case.js';
import type { Capabilities, FormatSupport } from './kernel.js';

/** Whether an entry of the declaration has the format of a case, in every list. */
function covers(entry: FormatSupport, { problem, scheme }: Case): boolean {
  return (
    entry.format === scheme.format &&
    entry.kAxis.includes(scheme.kAxis) &&
    entry.bits.includes(scheme.bits) &&
    entry.groups.includes(scheme.group) &&
    entry.headSizes.includes(problem.headSize) &&
    (entry.types ?? ['fp16']).includes(elementType(problem))
  );
}

/** Why a kernel with these capabilities declines a case, or null. */
export function undeclared(capabilities: Capabilities, c: Case): string | null {
  const { formats, tokensMax, headsPerKvMax, queryTokensMax = 1 } = capabilities;
  const { problem, scheme, options } = c;
  if (!formats.some((entry) => covers(entry, c))) {
    const { format, kAxis, bits, group } = scheme;
    const of = `head size ${problem.headSize}, ${elementType(problem)}`;
    return `scheme: ${format} by ${kAxis}, ${bits} bits, groups of ${group}, ${of}: not declared`;
  }
  const request = problem.tokens.findIndex((n) => n > tokensMax);
  if (request !== -1) {
    return `problem.tokens[${request}]: ${problem.tokens[request]}, at most ${tokensMax}`;
  }
  const ratio = queriesPerKvHead(problem);
  if (ratio > headsPerKvMax) {
    return `problem.queryHeads: ${ratio} on a KV head, at most ${headsPerKvMax}`;
  }
  const n = queryTokenCount(problem);
  if (n > queryTokensMax) return `problem.queryTokens: ${n}, at most ${queryTokensMax}`;
  if (options.pages !== undefined && capabilities.paged !== true) {
    return 'options.pages: page tables are not declared';
  }
  if ((options.appended ?? 0) > 0 && capabilities.append !== true) {
    return 'options.appended: appending is not declared';
  }
  if ((options.inputPadding ?? 0) > 0 && capabilities.strided !== true) {
    return 'options.inputPadding: strided tensors are not declared';
  }
  return null;
}
