// The bytes of a result that a kernel must define: output, lse, cache, and of the residual windows
// the rows before the end of the request. The rest of a window may hold anything.

import { packedTokens } from '../reference/cache.js';
import type { Problem } from '../reference/problem.js';
import { recordTokens } from '../reference/scheme.js';
import type { Ran } from './kernel.js';

export interface DefinedRegion {
  readonly buffer: 'output' | 'lse' | 'cache' | 'k-residual' | 'v-residual';
  /** Offset in bytes of the region in its buffer. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

function bytesOf(x: Uint8Array | Uint16Array | Float32Array, from: number, to: number): Uint8Array {
  const size = x.BYTES_PER_ELEMENT;
  return new Uint8Array(x.buffer, x.byteOffset + from * size, (to - from) * size);
}

/** Regions of one run; those of two runs of a case correspond one to one. */
export function definedRegions(problem: Problem, ran: Ran): DefinedRegion[] {
  const whole = (buffer: DefinedRegion['buffer'], x: Uint8Array | Uint16Array | Float32Array) => ({
    ...{ buffer, offset: 0 },
    bytes: bytesOf(x, 0, x.length),
  });
  const regions: DefinedRegion[] = [
    whole('output', ran.output),
    whole('lse', ran.lse),
    whole('cache', ran.cache),
  ];
  if (ran.stored !== undefined) return regions; // no residual windows
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
