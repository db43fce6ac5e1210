// native-problem.ts - a Case as the C interface says it: kvp_problem, and the page table that goes
// with the inputs.
//
// A cache that tokens are appended to lies behind a page table in any case, since the pages of one
// without would have to move; without pages in the case the table says what would be there anyway.

import type { Case } from '../../properties/case.js';
import type { Inputs } from '../../properties/kernel.js';
import { pageTable, sharedTokens } from '../../properties/pages.js';
import { firstPages, type PageTable, recordCounts } from '../../reference/page-table.js';
import { elementType, queryTokenCount } from '../../reference/problem.js';

/** kvp_problem in JavaScript; native/host/arguments.cpp says what is accepted. */
export interface NativeProblem {
  readonly format: string;
  readonly kAxis: string;
  readonly bits: number;
  readonly group: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly tokens: readonly number[]; // (requests)
  readonly splits: number;
  readonly softmaxScale: number;
  readonly queryTokens: number;
  readonly type: 'fp16' | 'bf16';
  /** Elements between the rows of q, k and v. */
  readonly inputPadding: number;
  /** Entries of a request in the page table; 0: no table. */
  readonly pageTableStride: number;
  readonly poolPages: number;
  /** Pages of the pool before these, of which there is only the address. */
  readonly firstPage?: number;
  /** The last tokens of each request that come one a step; more than 0 requires a table. */
  readonly appended: number;
  /** (requests): leading tokens whose records other requests write. */
  readonly kept?: readonly number[];
}

/** Inputs, and the page table where there is one: (requests, pageTableStride). */
export type NativeInputs = Inputs & { readonly pageTable?: Int32Array };

/** Pages one after another, as a table. */
function plainTable(c: Case): PageTable {
  const records = recordCounts(c.problem);
  const first = firstPages(c.problem);
  const stride = Math.max(1, ...records);
  const entries = new Int32Array(records.length * stride);
  records.forEach((own, request) => {
    for (let i = 0; i < own; i++) entries[request * stride + i] = first[request] + i;
  });
  return { pages: first[records.length], stride, entries };
}

function tableOf(c: Case): PageTable | undefined {
  return pageTable(c) ?? ((c.options.appended ?? 0) > 0 ? plainTable(c) : undefined);
}

export function nativeProblem(c: Case, splits: number, firstPage = 0): NativeProblem {
  const { format, kAxis, bits, group } = c.scheme;
  const { tokens, queryHeads, kvHeads, headSize } = c.problem;
  const { softmaxScale, appended = 0, inputPadding = 0 } = c.options;
  const table = tableOf(c);
  return {
    ...{ format, kAxis, bits, group, queryHeads, kvHeads, headSize, tokens, splits },
    ...{ softmaxScale, appended, inputPadding },
    queryTokens: queryTokenCount(c.problem),
    type: elementType(c.problem),
    pageTableStride: table?.stride ?? 0,
    poolPages: table?.pages ?? 0,
    ...(firstPage === 0 ? {} : { firstPage }),
    ...(table === undefined ? {} : { kept: sharedTokens(c) }),
  };
}

export function nativeInputs(c: Case, inputs: Inputs): NativeInputs {
  const table = tableOf(c);
  return table === undefined ? inputs : { ...inputs, pageTable: table.entries };
}
