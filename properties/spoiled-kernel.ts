// SpoiledKernel: a kernel with one thing wrong on purpose, for the tests of properties and of
// whatever searches with them. The standard wrong answers of the field, and the laws of memory.
//
// It wraps another kernel and spoils what goes in or what comes out, so it works on any of them. An
// answer that is right in spite of the spoiling at some shape (swapping the heads of a single one)
// is declared with it: `harmless` says for which cases.

import { attend } from '../reference/attention.js';
import { readCache } from '../reference/cache.js';
import { elementWords } from '../reference/format.js';
import { recordBytes } from '../reference/pack.js';
import { elementType } from '../reference/problem.js';
import { parameterCounts } from '../reference/quantize.js';
import { isPlain, recordTokens } from '../reference/scheme.js';
import type { Case } from './case.js';
import type { Capabilities, Inputs, Kernel, Ran, RunOptions, RunResult } from './kernel.js';
import { pageTable } from './pages.js';

/** What comes out in place of the right result. */
export type Spoil = (c: Case, inputs: Inputs, ran: Ran, options: RunOptions) => Ran;

export interface Spoiling {
  /** What is wrong, in one clause. */
  readonly story: string;
  /** Cases at which nothing is wrong after all. */
  readonly harmless: (c: Case) => boolean;
  readonly spoil: Spoil;
}

const isEmpty = ({ problem }: Case) => problem.tokens.every((n) => n === 0);
const hasNoRecord = ({ problem }: Case) => problem.tokens.every((n) => n < recordTokens);
const hasNoParameter = (c: Case) => isPlain(c.scheme) || hasNoRecord(c);

/** Attention over a cache that was tampered with; the cache itself stays as the kernel wrote it. */
export function attendTampered(
  c: Case,
  inputs: Inputs,
  ran: Ran,
  tamper: (cache: Uint8Array) => void,
  tokens: readonly number[] = c.problem.tokens,
): Ran {
  const { problem, scheme, options } = c;
  const cache = ran.cache.slice();
  tamper(cache);
  const { kResidual, vResidual } = ran;
  const read = readCache(problem, scheme, cache, kResidual, vResidual, pageTable(c));
  const heads = read.map((head, i) => ({
    ...head,
    tokens: tokens[Math.floor(i / problem.kvHeads)],
  }));
  const { output, lse } = attend({ ...problem, tokens }, options.softmaxScale, inputs.q, heads);
  return {
    ...ran,
    output: elementWords(elementType(problem), output),
    lse: Float32Array.from(lse),
  };
}

/** Byte ranges of the V parameters of every record: pairs of fp16 scale and zero. */
function eachValueParameter(c: Case, cache: Uint8Array, visit: (at: number) => void): void {
  const { headSize } = c.problem;
  const bytes = recordBytes(c.scheme, headSize);
  const params = isPlain(c.scheme) ? 0 : 4 * parameterCounts(c.scheme, recordTokens, headSize).v;
  for (let record = 0; record < cache.length; record += bytes) {
    for (let at = record + bytes - params; at < record + bytes; at += 4) visit(at);
  }
}

const swapHeads: Spoil = ({ problem }, _inputs, ran) => {
  const { queryHeads, headSize } = problem;
  const output = ran.output.map((_, i) => {
    const row = Math.floor(i / headSize);
    const head = row % queryHeads;
    const other = row - head + ((head + 1) % queryHeads);
    return ran.output[other * headSize + (i % headSize)];
  });
  return { ...ran, output };
};

/** The last row keeps its poison. */
const unwritten: Spoil = ({ problem }, _inputs, ran, { poison }) => {
  const output = ran.output.slice();
  output.fill(poison * 0x101, output.length - problem.headSize);
  return { ...ran, output };
};

export const SPOILINGS: Readonly<Record<string, Spoiling>> = {
  'zero-output': {
    story: 'every output is zero',
    harmless: isEmpty,
    spoil: (_c, _inputs, ran) => ({ ...ran, output: new Uint16Array(ran.output.length) }),
  },
  'swapped-heads': {
    story: "every query head gets its neighbour's output",
    // One token: all query heads of a KV head read the same row.
    harmless: ({ problem: p }) =>
      p.queryHeads === 1 || p.tokens.every((n) => n === 0 || (n === 1 && p.kvHeads === 1)),
    spoil: swapHeads,
  },
  'dropped-last-token': {
    story: 'the last token of every request is not read',
    harmless: isEmpty,
    spoil: (c, inputs, ran) => {
      const shorter = c.problem.tokens.map((n) => Math.max(n - 1, 0));
      return attendTampered(c, inputs, ran, () => {}, shorter);
    },
  },
  'zero-of-v-dropped': {
    story: 'the zero point of V is not added',
    harmless: hasNoParameter,
    spoil: (c, inputs, ran) =>
      attendTampered(c, inputs, ran, (cache) =>
        eachValueParameter(c, cache, (at) => cache.fill(0, at + 2, at + 4)),
      ),
  },
  'neighbour-parameters': {
    story: "V is dequantised with the parameters of the next token's group",
    harmless: hasNoParameter,
    spoil: (c, inputs, ran) =>
      attendTampered(c, inputs, ran, (cache) => {
        const right = cache.slice();
        const params = 4 * recordTokens;
        eachValueParameter(c, cache, (at) => {
          const inGroup = (at % params) + 4;
          const next = inGroup < params ? at + 4 : at - params + 4;
          cache.set(right.subarray(next, next + 4), at);
        });
      }),
  },
  'nan-output': {
    story: 'one output is NaN',
    harmless: () => false,
    spoil: (_c, _inputs, ran) => {
      const output = ran.output.slice();
      output[output.length - 1] = 0x7fff;
      return { ...ran, output };
    },
  },
  'unwritten-row': {
    story: 'the last row of the output is never written',
    harmless: () => false,
    spoil: unwritten,
  },
  'base-two-lse': {
    story: 'lse is a base-2 logarithm',
    // ln 1 = log2 1, and without tokens both are -Infinity.
    harmless: ({ problem }) => problem.tokens.every((n) => n === 0),
    spoil: (_c, _inputs, ran) => ({ ...ran, lse: ran.lse.map((x) => x / Math.LN2) }),
  },
  'stale-tail': {
    story: 'the fp16 rows behind the last record are not stored',
    harmless: ({ problem }) => problem.tokens.every((n) => n % recordTokens === 0),
    spoil: (_c, _inputs, ran, { poison }) => ({
      ...ran,
      kResidual: ran.kResidual.map(() => poison * 0x101),
    }),
  },
  'flipped-code': {
    story: 'one code of the first record is off by one',
    harmless: hasNoRecord,
    spoil: (_c, _inputs, ran) => {
      const cache = ran.cache.slice();
      cache[0] ^= 1;
      return { ...ran, cache };
    },
  },
  'changed-input': {
    story: 'a byte of the queries is changed',
    harmless: () => false,
    spoil: (_c, _inputs, ran) => ({
      ...ran,
      violations: [{ buffer: 'q', kind: 'input-changed', offset: 3, count: 1 }],
    }),
  },
};

/** Another kernel with its results changed, and with other capabilities where some are given. */
export class ChangedKernel implements Kernel {
  readonly device: Kernel['device'];
  readonly capabilities: Capabilities;

  constructor(
    private readonly right: Kernel,
    readonly uri: string,
    private readonly change: Spoil,
    capabilities: Partial<Capabilities> = {},
  ) {
    this.device = right.device;
    this.capabilities = { ...right.capabilities, ...capabilities };
  }

  supports(c: Case): string | null {
    return this.right.supports(c);
  }

  run(c: Case, inputs: Inputs, options: RunOptions): RunResult {
    const ran = this.right.run(c, inputs, options);
    return ran.kind === 'ran' ? this.change(c, inputs, ran, options) : ran;
  }

  close(): void {
    this.right.close();
  }
}

export class SpoiledKernel extends ChangedKernel {
  constructor(right: Kernel, name: string) {
    super(right, `spoiled:${name}`, SPOILINGS[name].spoil);
  }
}
