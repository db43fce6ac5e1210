// kernel-attention.ts - the attention of the scored tokens through a kernel, so that the perplexity
// of a kernel is measured and not only that of a format.
//
// Scored token i is a query over its prefixTokens + i + 1 tokens, as in serving: the kernel
// quantises the prefix and the scored tokens are appended to its cache one a step, until they fill
// records that it packs; a kernel without append makes the cache of that length at once. Every call
// starts from the prefix again, because a run of the interface keeps no cache. Where a kernel takes
// several query tokens, neighbours that see the same whole records go into one call; calls of real
// devices are joined to batches, because a launch costs more than a request there.
//
// Runs in a worker process only: a kernel can hang or end its process.

import { CASE_SCHEMA, type Case } from '../../properties/case.js';
import type { Kernel } from '../../properties/kernel.js';
import { f16FromF64, f16Values } from '../../reference/format.js';
import { recordTokens } from '../../reference/scheme.js';
import type { CacheConfig } from './cache-config.js';
import { MODEL } from './code-lm-model.js';
import {
  type CacheAttention,
  type LayerPrefix,
  type Protocol,
  SOFTMAX_SCALE,
} from './scored-windows.js';

/** Requests of one call on a real device: 16 times 2,560 tokens are 42 MB. */
const DEVICE_REQUESTS = 16;
/** Fills what the kernel has to write: a NaN of binary16. */
const POISON = 0xff;

const rowSize = MODEL.kvHeads * MODEL.headSize;
const querySize = MODEL.queryHeads * MODEL.headSize;
/** The recipe is a stand-in: a study hands the tensors over itself. */
const GIVEN = { distribution: 'zero', seed: 0, scale: 0, offset: 0 } as const;

/** A device error or a refusal in the middle of a pass. */
export class KernelFailure extends Error {
  constructor(
    message: string,
    readonly deviceLost: boolean,
  ) {
    super(message);
  }
}

/** Why a kernel cannot stand in for a cache, or null. */
export function unsupportedReason(
  kernel: Kernel,
  config: CacheConfig,
  { prefixTokens, scoredTokens }: Protocol,
): string | null {
  const { kBits, vBits } = config;
  if (kBits !== vBits) return `K at ${kBits} and V at ${vBits} bits: a scheme has one width`;
  return kernel.supports(caseOf(config, [prefixTokens + scoredTokens]));
}

/** A scheme that no kernel knows comes back from `supports` as a sentence. */
function schemeOf({ kAxis, group, kBits }: CacheConfig): Case['scheme'] {
  // Values that are kept have no groups and no axis: the format has one spelling.
  if (kBits === 16) return { format: 'fp16', kAxis: 'channel', bits: 16, group: 128 };
  return { format: 'bitdecoding', kAxis, bits: kBits, group } as Case['scheme'];
}

/** appended: tokens of each request that come one a step, the last ones. */
function caseOf(config: CacheConfig, tokens: number[], queryTokens = 1, appended = 0): Case {
  return {
    schema: CASE_SCHEMA,
    problem: {
      tokens,
      queryHeads: MODEL.queryHeads,
      kvHeads: MODEL.kvHeads,
      headSize: MODEL.headSize,
      ...(queryTokens === 1 ? {} : { queryTokens }),
    },
    scheme: schemeOf(config),
    tensors: { q: GIVEN, k: GIVEN, v: GIVEN },
    options: { softmaxScale: SOFTMAX_SCALE, splits: 0, ...(appended === 0 ? {} : { appended }) },
  };
}

/** Query tokens of one request, consecutive, that see the same whole records. */
interface Chunk {
  readonly first: number;
  readonly count: number;
}

export class KernelAttention implements CacheAttention {
  constructor(
    private readonly kernel: Kernel,
    private readonly config: CacheConfig,
    private readonly protocol: Protocol,
  ) {}

  attend(
    prefix: LayerPrefix,
    q: Float32Array,
    k: Float32Array,
    v: Float32Array,
    out: Float32Array,
  ): void {
    const { prefixTokens, scoredTokens } = this.protocol;
    const { emulated, queryTokensMax } = this.kernel.capabilities;
    const kAll = f16Rows(prefix.k, k, prefixTokens, scoredTokens);
    const vAll = f16Rows(prefix.v, v, prefixTokens, scoredTokens);
    const chunks = chunksOf(this.protocol, queryTokensMax ?? 1);
    for (const call of callsOf(chunks, emulated ? 1 : DEVICE_REQUESTS)) {
      const [{ first, count }] = call;
      const rows = [first * querySize, (first + count * call.length) * querySize] as const;
      const tokens = call.map((chunk) => prefixTokens + chunk.first + chunk.count);
      const queries = Uint16Array.from(q.subarray(...rows), f16FromF64);
      const output = this.call(tokens, count, queries, kAll, vAll);
      for (let j = 0; j < output.length; j++) out[rows[0] + j] = f16Values[output[j]];
    }
  }

  private call(
    tokens: number[],
    queryTokens: number,
    q: Uint16Array,
    kAll: Uint16Array,
    vAll: Uint16Array,
  ): Uint16Array {
    const inputs = { q, k: firstRows(kAll, tokens), v: firstRows(vAll, tokens) };
    // Of the longest request; of the others the last tokens of the prefix are appended as well.
    const scored = Math.max(...tokens) - this.protocol.prefixTokens;
    const appended = this.kernel.capabilities.append === true ? scored : 0;
    const c = caseOf(this.config, tokens, queryTokens, appended);
    const ran = this.kernel.run(c, inputs, { poison: POISON });
    if (ran.kind !== 'ran') {
      throw new KernelFailure(`${this.kernel.uri}: ${ran.reason}`, ran.kind === 'device-error');
    }
    const [violation] = ran.violations;
    if (violation === undefined) return ran.output;
    const { kind, buffer } = violation;
    throw new KernelFailure(`${this.kernel.uri}: memory law ${kind} broken in ${buffer}`, false);
  }
}

/**
 * Scored tokens that may be queries of one call: their number of whole records is the same, so that
 * none of them sees a token in a record that it would have seen in the window.
 */
export function chunksOf({ prefixTokens, scoredTokens }: Protocol, most: number): Chunk[] {
  const chunks: Chunk[] = [];
  for (let first = 0; first < scoredTokens; ) {
    const seen = prefixTokens + first + 1;
    const untilNext = recordTokens - (seen % recordTokens);
    const count = Math.min(most, scoredTokens - first, untilNext);
    chunks.push({ first, count });
    first += count;
  }
  return chunks;
}

/** Neighbours of equal size joined, up to `most` requests. */
function callsOf(chunks: readonly Chunk[], most: number): [Chunk, ...Chunk[]][] {
  const calls: [Chunk, ...Chunk[]][] = [];
  for (const chunk of chunks) {
    const last = calls.at(-1);
    if (last !== undefined && last.length < most && last[0].count === chunk.count) last.push(chunk);
    else calls.push([chunk]);
  }
  return calls;
}

/** Prefix and scored tokens one behind the other, binary16, (tokens, KV heads, head size). */
function f16Rows(
  prefix: Float32Array,
  scored: Float32Array,
  prefixTokens: number,
  scoredTokens: number,
): Uint16Array {
  const all = new Uint16Array((prefixTokens + scoredTokens) * rowSize);
  for (let i = 0; i < prefixTokens * rowSize; i++) all[i] = f16FromF64(prefix[i]);
  const at = prefixTokens * rowSize;
  for (let i = 0; i < scoredTokens * rowSize; i++) all[at + i] = f16FromF64(scored[i]);
  return all;
}

/** The first tokens[r] rows of x for every request r, one request behind the other. */
function firstRows(x: Uint16Array, tokens: readonly number[]): Uint16Array {
  if (tokens.length === 1) return x.subarray(0, tokens[0] * rowSize);
  const out = new Uint16Array(tokens.reduce((sum, n) => sum + n, 0) * rowSize);
  let at = 0;
  for (const count of tokens) {
    out.set(x.subarray(0, count * rowSize), at);
    at += count * rowSize;
  }
  return out;
}
