// Tests of the perplexity study on the real model, with prefixes of one record so that they are
// quick: the forward pass against what the model's authors recorded, the two ways to attend against
// one another, and the table.

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ReferenceKernel } from '../../properties/reference-kernel.js';
import { f16Values } from '../../reference/format.js';
import { packageRoot } from '../campaign/package-root.js';
import { SafetensorsFile } from '../campaign/safetensors.js';
import { attentionFloats, BlockedAttention } from './blocked-attention.js';
import { AXES, BIT_PAIRS, type CacheConfig, configGrid, GROUPS } from './cache-config.js';
import { CodeLmModel, MODEL } from './code-lm-model.js';
import { chunksOf, KernelAttention, unsupportedReason } from './kernel-attention.js';
import { perplexityKey, perplexityTable, perplexityTasks } from './perplexity.js';
import { PerplexityRunner, type PerplexityTask } from './perplexity-task.js';
import { ScoredWindows, SOFTMAX_SCALE, writeTokens } from './scored-windows.js';
import { StudyFailure } from './study-messages.js';
import { FloatArena } from './wasm-matmul.js';

const folder = join(packageRoot(), 'corpus', 'code-lm');
/** Two queries before a record fills, then the record and its successor. */
const protocol = { prefixTokens: 253, scoredTokens: 5 };

function windows(): ScoredWindows {
  const loaded = ScoredWindows.load(folder, protocol);
  if (loaded.kind === 'error') throw new Error(loaded.message);
  return loaded.windows;
}

describe('CodeLmModel', () => {
  it('gives the keys and values that were recorded with the model, in every layer', () => {
    const tokens = 64;
    const shape = { queryHeads: 4, kvHeads: 2, headSize: 128, tokensMax: 128 };
    const loaded = CodeLmModel.load(folder, tokens, attentionFloats(shape));
    if (loaded.kind === 'error') throw new Error(loaded.message);
    const { model } = loaded;
    const attention = new BlockedAttention(model.arena, shape);
    const recorded = { k: tensors('kv-k.safetensors'), v: tensors('kv-v.safetensors') };
    const ids = tensors('kv-q-eval.safetensors').ids;
    let largest = 0;
    model.forward(ids.subarray(0, tokens), 0, (layer, q, k, v, out) => {
      for (const [name, found] of [['k', k] as const, ['v', v] as const]) {
        const stored = recorded[name].f16(`layer${layer}.${name}`); // (KV heads, 4096, head size)
        for (let i = 0; i < tokens * 256; i++) {
          const [t, head, d] = [i >> 8, (i >> 7) & 1, i & 127];
          const other = f16Values[stored[(head * 4096 + t) * 128 + d]];
          largest = Math.max(largest, Math.abs(found[i] - other) / (1 + Math.abs(other)));
        }
      }
      writeTokens(attention, 0, tokens, k, v);
      attention.attend(q, tokens, 0, SOFTMAX_SCALE, out);
    });
    // The record was made in another precision and stored in fp16, whose half ulp is 2^-11.
    expect(largest).toBeLessThan(0.01);
  });

  it('says which weights are missing', () => {
    const loaded = CodeLmModel.load(join(packageRoot(), 'reference'), 8, 0);
    expect(loaded.kind === 'error' && loaded.message).toContain('model-1.safetensors: cannot be');
  });
});

function tensors(file: string) {
  const opened = SafetensorsFile.open(join(folder, file));
  if (opened.kind === 'error') throw new Error(opened.message);
  const bytes = (name: string) => {
    const read = opened.file.bytes(name);
    if (read.kind === 'error') throw new Error(read.message);
    return new Uint8Array(read.bytes).buffer;
  };
  return {
    f16: (name: string) => new Uint16Array(bytes(name)),
    get ids() {
      return new Int32Array(bytes('eval_tokens'));
    },
  };
}

describe('BlockedAttention', () => {
  it('is causal attention, to 1e-5', () => {
    const shape = { queryHeads: 2, kvHeads: 1, headSize: 8, tokensMax: 136 };
    const arena = new FloatArena(attentionFloats(shape) + 2 * 140 * 16);
    const attention = new BlockedAttention(arena, shape);
    const [q, out] = [arena.allocate(140 * 16), arena.allocate(140 * 16)];
    const value = (i: number) => Math.fround(Math.sin(i * 2.3) * 2);
    const k = Float32Array.from({ length: 136 * 8 }, (_, i) => value(i));
    const v = Float32Array.from({ length: 136 * 8 }, (_, i) => value(i + 5000));
    for (let i = 0; i < 131 * 16; i++) q[i] = value(i + 9000);
    attention.write(0, 0, 136, k, v);
    const packed: number[] = [];
    attention.attend(q, 131, 3, 0.5, out, (tokens) => packed.push(tokens));
    expect(packed).toEqual([0, 128]);
    for (let i = 0; i < 131 * 16; i++) {
      const [row, head, d] = [i >> 4, (i >> 3) & 1, i & 7];
      let [sum, weighted] = [0, 0];
      for (let t = 0; t <= row + 3; t++) {
        let score = 0;
        for (let j = 0; j < 8; j++) score += q[row * 16 + head * 8 + j] * k[t * 8 + j];
        sum += Math.exp(score * 0.5);
        weighted += Math.exp(score * 0.5) * v[t * 8 + d];
      }
      expect(Math.abs(out[i] - weighted / sum)).toBeLessThan(1e-5);
    }
  });
});

describe('one window through a cache', () => {
  const loaded = windows();
  const runner = new PerplexityRunner(
    { protocol, states: 'pinned' },
    loaded,
    new ReferenceKernel(),
  );
  const config: CacheConfig = { kAxis: 'channel', group: 32, kBits: 2, vBits: 2 };
  const task = (other: CacheConfig | null, window = 0): PerplexityTask => {
    return { study: 'perplexity', window, config: other };
  };
  const nll = (other: CacheConfig | null) => {
    const value = runner.run(task(other));
    if (value.kind !== 'nll') throw new Error(value.reason);
    return value.sum / value.tokens;
  };

  it('costs more with fewer bits and nothing with 16', () => {
    const base = nll(null);
    expect(nll({ ...config, kBits: 16, vBits: 16 })).toBe(base);
    const eight = Math.abs(nll({ ...config, kBits: 8, vBits: 8 }) - base);
    const two = Math.abs(nll(config) - base);
    expect(eight).toBeLessThan(0.01);
    expect(two).toBeGreaterThan(eight);
  });

  it('is the same through the float64 kernel, call by call, as through blocks', () => {
    const kernel = new ReferenceKernel();
    expect(unsupportedReason(kernel, config, protocol)).toBeNull();
    const losses = loaded.losses(0, new KernelAttention(kernel, config, protocol));
    const byKernel = losses.reduce((a, b) => a + b, 0) / losses.length;
    expect(Math.abs(byKernel - nll(config))).toBeLessThan(5e-5);
  });

  it('a kernel that is not the reference has its own queries over the same cache', () => {
    const kernel = new ReferenceKernel();
    Object.defineProperty(kernel, 'uri', { value: 'other:' });
    const other = new PerplexityRunner({ protocol, states: 'pinned' }, loaded, kernel);
    const value = other.run(task(config));
    expect(value.kind === 'nll' && Math.abs(value.sum / value.tokens - nll(config))).toBeLessThan(
      5e-5,
    );
  });

  it('appends the scored tokens to the cache where the kernel can', () => {
    const appended = (append: boolean) => {
      const seen: (number | undefined)[] = [];
      const kernel = new ReferenceKernel();
      Object.defineProperty(kernel, 'capabilities', { value: { ...kernel.capabilities, append } });
      const run = kernel.run.bind(kernel);
      kernel.run = (c, inputs, options) => {
        seen.push(c.options.appended);
        return run(c, inputs, options);
      };
      loaded.losses(0, new KernelAttention(kernel, config, protocol));
      return seen.slice(0, seen.length / MODEL.layers);
    };
    expect(new Set(appended(false))).toEqual(new Set([undefined]));
    expect(Math.max(...appended(true).map((n) => n ?? 0))).toBe(protocol.scoredTokens);
  });

  it('measures a kernel that keeps K and V as they came', () => {
    const kept = { ...config, kBits: 16, vBits: 16 };
    const kernel = new ReferenceKernel();
    expect(unsupportedReason(kernel, kept, protocol)).toBeNull();
    const losses = loaded.losses(0, new KernelAttention(kernel, kept, protocol));
    const byKernel = losses.reduce((a, b) => a + b, 0) / losses.length;
    const base = nll(null);
    expect(Math.abs(byKernel - base)).toBeLessThan(Math.abs(nll(config) - base) / 10);
  });

  it('query tokens of one call see the same whole records', () => {
    expect(chunksOf({ prefixTokens: 253, scoredTokens: 12 }, 8)).toEqual([
      { first: 0, count: 2 }, // 254 and 255 tokens
      { first: 2, count: 8 }, // 256 to 263
      { first: 10, count: 2 },
    ]);
    expect(chunksOf(protocol, 1)).toHaveLength(protocol.scoredTokens);
  });

  it('says what a kernel does not support, and which window does not exist', () => {
    const kernel = new ReferenceKernel();
    const mixed = { ...config, vBits: 4 };
    expect(unsupportedReason(kernel, mixed, protocol)).toContain('a scheme has one width');
    expect(unsupportedReason(kernel, { ...config, group: 48 }, protocol)).toContain('group');
    expect(() => runner.run(task(null, 9999))).toThrow(StudyFailure);
  });
});

describe('the table', () => {
  const configs = configGrid(
    ['channel'],
    [32],
    [
      [8, 8],
      [2, 2],
    ],
  );
  const values = new Map<string, unknown>();
  for (const [config, sums] of [
    [null, [10, 20]],
    [configs[0], [10, 20]],
    [configs[1], [12, 24]],
  ] as const) {
    sums.forEach((sum, window) => {
      values.set(perplexityKey(config, window), { kind: 'nll', sum, tokens: 10 });
    });
  }

  it('is a paired difference to the base', () => {
    const table = perplexityTable(configs, 2, values, (units, statistic) => {
      return [statistic([0]), statistic([units - 1])];
    });
    expect(table.base).toEqual({ nll: 1.5, ppl: Math.exp(1.5) });
    expect(table.tokens).toBe(20);
    expect(table.rows[0]).toMatchObject({ dppl: 0, bitsPerValue: 9 });
    expect(table.rows[1].dppl).toBe(Math.exp(1.8) - Math.exp(1.5));
    expect(table.rows[1].dpplInterval).toEqual([
      Math.exp(1.2) - Math.exp(1),
      Math.exp(2.4) - Math.exp(2),
    ]);
  });

  it('has 2 axes x 3 groups x 9 pairs of widths', () => {
    const grid = configGrid(AXES, GROUPS, BIT_PAIRS);
    expect(grid).toHaveLength(54);
    const tasks = perplexityTasks(grid, 3);
    expect(new Set(tasks.map(({ key }) => key)).size).toBe(3 * 55);
  });

  it('head size and vocabulary are those of the weights', () => {
    expect(MODEL.queryHeads * MODEL.headSize).toBe(512);
  });
});
