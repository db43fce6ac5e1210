// The bytes of a result that a kernel must define: output, lse, dequantised values where there are
// some, the pages of the cache that a record lies in, and of the residual windows the rows before
// the end of the request. The rest of a window may hold anything.

import { packedTokens, usedPages } from '../reference/page-table.js';
import { recordTokens } from '../reference/scheme.js';
import type { Case } from './case.js';
import type { Ran } from './kernel.js';
import { pageTable } from './pages.js';

export interface DefinedRegion {
  readonly buffer:
    | 'output'
    | 'lse'
    | 'cache'
    | 'k-residual'
    | 'v-residual'
    | 'k-values'
    | 'v-values';
  /** Offset in bytes of the region in its buffer. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

function bytesOf(x: Uint8Array | Uint16Array | Float32Array, from: number, to: number): Uint8Array {
  const size = x.BYTES_PER_ELEMENT;
  return new Uint8Array(x.buffer, x.byteOffset + from * size, (to - from) * size);
}

/** Pages of the cache that a record lies in; the whole of it where all of them are. */
function pageRegions(c: Case, { cache }: Ran): DefinedRegion[] {
  const used = usedPages(c.problem, pageTable(c));
  const region = (first: number, end: number): DefinedRegion => {
    const size = cache.length / used.length;
    const bytes = bytesOf(cache, first * size, end * size);
    return { buffer: 'cache', offset: first * size, bytes };
  };
  if (used.length === 0) return [{ buffer: 'cache', offset: 0, bytes: cache }];
  if (used.every((x) => x === 1)) return [region(0, used.length)];
  return [...used.keys()].filter((i) => used[i] === 1).map((i) => region(i, i + 1));
}

/** Bytes of the pages that no record lies in; nobody writes there. */
export function spareRegions(c: Case, { cache }: Ran): DefinedRegion[] {
  const used = usedPages(c.problem, pageTable(c));
  const size = cache.length / Math.max(1, used.length);
  return [...used.keys()]
    .filter((i) => used[i] === 0)
    .map((i) => {
      const bytes = bytesOf(cache, i * size, (i + 1) * size);
      return { buffer: 'cache', offset: i * size, bytes };
    });
}

/** Regions of one run; those of two runs of a case correspond one to one. */
export function definedRegions(c: Case, ran: Ran): DefinedRegion[] {
  const { problem } = c;
  const whole = (buffer: DefinedRegion['buffer'], x: Uint8Array | Uint16Array | Float32Array) => ({
    ...{ buffer, offset: 0 },
    bytes: bytesOf(x, 0, x.length),
  });
  const regions: DefinedRegion[] = [whole('output', ran.output), whole('lse', ran.lse)];
  if (ran.kValues !== undefined) regions.push(whole('k-values', ran.kValues));
  if (ran.vValues !== undefined) regions.push(whole('v-values', ran.vValues));
  if (ran.stored !== undefined) return [...regions, whole('cache', ran.cache)]; // no windows
  regions.push(...pageRegions(c, ran));
  const rowSize = problem.kvHeads * problem.headSize;
  problem.tokens.forEach((tokens, request) => {
    const from = request * recordTokens * rowSize;
    const to = from + (tokens - packedTokens(tokens)) * rowSize;
    regions.push({
      ...{ buffer: 'k-residual', offset: 2 * from },
      bytes: bytesOf(ran.kResidual, from, to),
    });
    regions.push({
      ...{ buffer: 'v-residual', offset: 2 * from },
      bytes: bytesOf(ran.vResidual, from, to),
    });
  });
  return regions;
}
