// The reference as a Kernel: quantise by reference/quantize.ts, attend in float64 over that cache,
// round the result to fp16 once. The most accurate kernel that there can be, so every property
// passes on it at every shape, and a property that does not is wrong itself.
//
// It says "folded" arithmetic with the widest accumulators, the tightest bound that the reference
// has, unless told otherwise. Memory behaves as a device's: outputs and the unused rows of the
// residual windows hold the poison until they are written.

import type { Arithmetic } from '../reference/arithmetic.js';
import { attend } from '../reference/attention.js';
import { dequantized, keyRows, readCache, referenceCache, valueRows } from '../reference/cache.js';
import { elementWords } from '../reference/format.js';
import { pageCount, usedPages } from '../reference/page-table.js';
import { elementType, problemError, queryTokensMax } from '../reference/problem.js';
import { bitdecoding, recordTokens, schemeError } from '../reference/scheme.js';
import type { Case } from './case.js';
import { undeclared } from './declared.js';
import type { Capabilities, FormatSupport, Inputs, Kernel, Ran, RunOptions } from './kernel.js';
import { pageTable } from './pages.js';

const tightest: Arithmetic = {
  operands: 'folded',
  fraction: 25,
  fusedProducts: 16,
  sumLanes: 32,
};

/** All that the reference knows, simplest first. */
function everyFormat(): FormatSupport[] {
  const { format, bits, groups, headSizes } = bitdecoding;
  const types = ['fp16', 'bf16'] as const;
  return [
    { format, kAxis: ['channel', 'token'], bits, groups, headSizes, types },
    { format, kAxis: ['token'], bits, groups: [256], headSizes: [256], types },
    { format: 'fp16', kAxis: ['channel'], bits: [16], groups: [128], headSizes, types },
  ];
}

export function referenceCapabilities(arithmetic: Arithmetic | null): Capabilities {
  return {
    name: 'reference',
    formats: everyFormat(),
    layout: 'record128',
    tokensMax: 1_000_000,
    headsPerKvMax: 64,
    arithmetic,
    tiles: [8, 16, recordTokens],
    deterministic: true,
    batchInvariant: true,
    queryTokensMax,
    ...{ paged: true, append: true, dequantize: true, strided: true, farPages: true },
    emulated: false,
    checked: false,
  };
}

export class ReferenceKernel implements Kernel {
  readonly uri = 'ref:';
  readonly device = { name: 'TypeScript reference', sm: 'float64', driver: 'none' };
  readonly capabilities: Capabilities;

  /** declared: capabilities that differ from the usual ones. */
  constructor(
    arithmetic: Arithmetic | null = tightest,
    declared: Pick<Partial<Capabilities>, 'tokensMax' | 'headsPerKvMax' | 'tiles'> = {},
  ) {
    this.capabilities = { ...referenceCapabilities(arithmetic), ...declared };
  }

  supports(c: Case): string | null {
    const { problem, scheme } = c;
    const wrong = problemError(problem) ?? schemeError(scheme, problem);
    return wrong ?? undeclared(this.capabilities, c);
  }

  run(c: Case, { q, k, v }: Inputs, { poison, splits = c.options.splits }: RunOptions): Ran {
    const { problem, scheme, options } = c;
    const table = pageTable(c);
    const made = referenceCache(problem, scheme, k, v, table);
    const cache = poisonedSpares(c, made.cache, poison);
    const kResidual = poisonedTail(c, made.kResidual, poison);
    const vResidual = poisonedTail(c, made.vResidual, poison);
    const heads = readCache(problem, scheme, cache, kResidual, vResidual, table);
    const { output, lse } = attend(problem, options.softmaxScale, q, heads);
    const type = elementType(problem);
    return {
      kind: 'ran',
      ...{ cache, kResidual, vResidual },
      output: elementWords(type, output),
      lse: Float32Array.from(lse),
      kValues: dequantized(problem, heads, keyRows),
      vValues: dequantized(problem, heads, valueRows),
      splits: Math.max(splits, 1),
      pages: pageCount(problem, table),
      violations: [],
      reports: [],
      scheduleHash: '',
    };
  }

  close(): void {}
}

/** The cache with poison in the pages that no record lies in. */
function poisonedSpares(c: Case, cache: Uint8Array, poison: number): Uint8Array {
  const used = usedPages(c.problem, pageTable(c));
  const bytes = cache.length / Math.max(1, used.length);
  for (const [page, isUsed] of used.entries()) {
    if (isUsed === 0) cache.fill(poison, page * bytes, (page + 1) * bytes);
  }
  return cache;
}

/** The window (requests, 128, kvHeads, headSize) with poison in the rows behind the last token. */
function poisonedTail(c: Case, rows: Uint16Array, poison: number): Uint16Array {
  const { tokens, kvHeads, headSize } = c.problem;
  const rowSize = kvHeads * headSize;
  tokens.forEach((length, request) => {
    const window = request * recordTokens;
    const from = (window + (length % recordTokens)) * rowSize;
    rows.fill(poison * 0x101, from, (window + recordTokens) * rowSize);
  });
  return rows;
}
