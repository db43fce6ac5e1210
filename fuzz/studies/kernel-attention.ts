// kernel-attention.ts - the attention of the scored tokens through a kernel, so that the perplexity
// of a kernel is measured and not only that of a format.
//
// Scored token i is one decode call over its prefixTokens + i + 1 tokens: the kernel makes the
// cache of that length itself, whole records packed and the rest in its fp16 window. A cache made
// at once has the bits of one that grew by appending (that equality is a property of its own), so
// this is decoding as in serving; what it costs more is quantising the prefix again for every
// token. Calls of real devices are joined to batches, because a launch costs more than a request
// there.
//
// Runs in a worker process only: a kernel can hang or end its process.

import { CASE_SCHEMA, type Case } from '../../properties/case.js';
import type { Kernel } from '../../properties/kernel.js';
import { f16FromF64, f16Values } from '../../reference/format.js';
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

function caseOf({ kAxis, group, kBits }: CacheConfig, tokens: number[]): Case {
  return {
    schema: CASE_SCHEMA,
    problem: {
      tokens,
      queryHeads: MODEL.queryHeads,
      kvHeads: MODEL.kvHeads,
      headSize: MODEL.headSize,
    },
    // A scheme that the kernel does not know comes back from `supports` as a sentence.
    scheme: { format: 'bitdecoding', kAxis, bits: kBits, group } as Case['scheme'],
    tensors: { q: GIVEN, k: GIVEN, v: GIVEN },
    options: { softmaxScale: SOFTMAX_SCALE, splits: 0 },
  };
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
    const kAll = f16Rows(prefix.k, k, prefixTokens, scoredTokens);
    const vAll = f16Rows(prefix.v, v, prefixTokens, scoredTokens);
    const step = this.kernel.capabilities.emulated ? 1 : DEVICE_REQUESTS;
    for (let i = 0; i < scoredTokens; i += step) {
      const count = Math.min(step, scoredTokens - i);
      const tokens = Array.from({ length: count }, (_, r) => prefixTokens + i + r + 1);
      const queries = Uint16Array.from(
        q.subarray(i * querySize, (i + count) * querySize),
        f16FromF64,
      );
      const output = this.call(tokens, queries, kAll, vAll);
      for (let j = 0; j < output.length; j++) out[i * querySize + j] = f16Values[output[j]];
    }
  }

  private call(
    tokens: number[],
    q: Uint16Array,
    kAll: Uint16Array,
    vAll: Uint16Array,
  ): Uint16Array {
    const inputs = { q, k: firstRows(kAll, tokens), v: firstRows(vAll, tokens) };
    const ran = this.kernel.run(caseOf(this.config, tokens), inputs, { poison: POISON });
    if (ran.kind !== 'ran') {
      throw new KernelFailure(`${this.kernel.uri}: ${ran.reason}`, ran.kind === 'device-error');
    }
    const [violation] = ran.violations;
    if (violation === undefined) return ran.output;
    const { kind, buffer } = violation;
    throw new KernelFailure(`${this.kernel.uri}: memory law ${kind} broken in ${buffer}`, false);
  }
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
