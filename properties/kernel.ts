// Kernel: anything that can run a Case. The emulated kernels, the CUDA kernels, a stranger's shared
// library, the TypeScript reference and a seeded bug all answer to this one interface.
//
// A kernel declares what it can do (`capabilities`, `supports`) before it runs; "unsupported" comes
// from there and never from the text of an error. `run` quantises K and V into a cache of the
// kernel's own, decodes the query tokens of every request from that cache, and hands everything
// back, so that codes and attention can be judged apart.
//
// This file holds types only: no loading, no device, no defaults.

import type { Arithmetic } from '../reference/arithmetic.js';
import type { Precision } from '../reference/dense-bound.js';
import type { ElementType } from '../reference/format.js';
import type { Packed } from '../reference/formats/index.js';
import type { Case } from './case.js';

export interface Device {
  readonly name: string;
  /** Architecture whose arithmetic is executed, e.g. "sm_90". */
  readonly sm: string;
  /** Driver version, or "emulated". */
  readonly driver: string;
}

/** Every combination of the lists. */
export interface FormatSupport {
  readonly format: string;
  readonly kAxis: readonly string[];
  readonly bits: readonly number[];
  readonly groups: readonly number[];
  readonly headSizes: readonly number[];
  /** Of q, k, v and the output; fp16 alone unless given. */
  readonly types?: readonly ElementType[];
}

export interface Capabilities {
  readonly name: string;
  /** Several entries may have one format. */
  readonly formats: readonly FormatSupport[];
  /**
   * record128: the cache is our records, read back bit by bit. values: a layout of the kernel's
   * own; it hands back its cache in the layout of the format's spec, or dequantised, or not at all
   * (Ran.stored), and declares a `precision` in place of an `arithmetic`.
   */
  readonly layout: 'record128' | 'values';
  /** Of a kernel with values; absent: usualPrecision of dense-bound.ts. */
  readonly precision?: Precision;
  /**
   * Of a kernel with values: tokens that are quantised together; the last tokens % blockTokens of
   * a request stay as they came. Default 1.
   */
  readonly blockTokens?: number;
  /** Lengths that the kernel takes are multiples of this. Default 1. */
  readonly tokensMultiple?: number;
  /** false: the kernel gives no lse, and it is not judged. */
  readonly lse?: boolean;
  /**
   * true: where two codes are equally near, the kernel may store either, within a few roundings of
   * binary32; likewise two scales, in formats that say what they round, and scales of binary32.
   */
  readonly eitherTie?: boolean;
  /**
   * true: the kernel attends over the values as the format's own dequantiser rounds them; else over
   * what codes and parameters say, without a rounding beyond `precision`.
   */
  readonly roundedValues?: boolean;
  /** true: queries are quantised too, and handed back as they are used (Stored.query). */
  readonly quantizesQuery?: boolean;
  /** Largest number of tokens of one request. */
  readonly tokensMax: number;
  /** Largest number of query heads that share a KV head. */
  readonly headsPerKvMax: number;
  /** What the error bound may assume; null: nothing is declared, the widest bound is used. */
  readonly arithmetic: Arithmetic | null;
  /**
   * Sizes where behaviour changes (query tile, token tile, record): lengths are drawn around them.
   */
  readonly tiles: readonly number[];
  /** The same case gives the same bits on every run and every schedule. */
  readonly deterministic: boolean;
  /**
   * With `splits` pinned, no bit of a request's result depends on the other requests, and no bit of
   * a head's result on the other heads. Absent: not promised.
   */
  readonly batchInvariant?: boolean;
  /**
   * Every possible case within this declaration is accepted: one that is declined is a finding.
   * Absent: the kernel may have further reasons of its own.
   */
  readonly complete?: boolean;
  /** Largest number of query tokens of a request; 1 unless given. */
  readonly queryTokensMax?: number;
  /**
   * The cache may be a pool of pages behind a page table. Here and below, absent: not supported.
   */
  readonly paged?: boolean;
  /** Tokens may be appended one a step. */
  readonly append?: boolean;
  /** Dequantised keys and values can be read back: Ran.kValues and Ran.vValues. */
  readonly dequantize?: boolean;
  /** Rows of q, k and v may be further apart than the head is long. */
  readonly strided?: boolean;
  /** Runs on a stream of its own are possible (RunOptions.ownStream). */
  readonly streams?: boolean;
  /**
   * RunOptions.firstPage is honoured: whoever runs the kernel can put its pool of pages behind
   * addresses that exist and that nobody touches.
   */
  readonly farPages?: boolean;
  readonly emulated: boolean;
  /** Every load and store of the kernel is checked. */
  readonly checked: boolean;
}

/**
 * Tensors of a case, as words of the problem's type, dense. Requests follow one another along the
 * token axis of k and v.
 */
export interface Inputs {
  readonly q: Uint16Array; // (requests, queryTokens, queryHeads, headSize)
  readonly k: Uint16Array; // (sum of tokens, kvHeads, headSize)
  readonly v: Uint16Array; // (sum of tokens, kvHeads, headSize)
}

/** How an emulator interleaves warps and when asynchronous copies land. Ignored by real devices. */
export interface Schedule {
  readonly policy: 'round-robin' | 'random' | 'starve' | 'pct';
  readonly copies: 'eager' | 'lazy' | 'random';
  readonly seed: number;
  readonly starvedWarp?: number;
}

export interface RunOptions {
  /** Byte that fills outputs, workspace and residual windows before the launch. */
  readonly poison: number;
  /** On a stream of its own, behind inputs that arrive late; of a kernel with `streams`. */
  readonly ownStream?: boolean;
  /** Overrides case.options.splits. */
  readonly splits?: number;
  readonly schedule?: Schedule;
  /**
   * Of a case with a page table: pages of the pool before the first one of the case. No record lies
   * in them, results do not show them, and no memory stands behind them. 0 unless given.
   */
  readonly firstPage?: number;
}

/** What a kernel with a layout of its own says that its cache holds. */
export interface Stored {
  /**
   * The cache in the layout of the format's spec (reference/formats), one entry for each request
   * and KV head, (requests, kvHeads), over the tokens that are quantised.
   */
  readonly packed?: { readonly k: readonly Packed[]; readonly v: readonly Packed[] };
  /** Dequantised, (sum of tokens, kvHeads, headSize); all tokens. */
  readonly values?: { readonly k: Float32Array; readonly v: Float32Array };
  /** Queries as the kernel uses them if it quantises them too, as q. */
  readonly query?: Float32Array;
}

export interface MemoryViolation {
  readonly buffer: string;
  readonly kind: 'redzone' | 'input-changed' | 'unwritten';
  /**
   * Of the first byte concerned, from the start of the buffer; negative: in the redzone before it.
   */
  readonly offset: number;
  /** Bytes concerned. */
  readonly count: number;
}

/** What a checked emulator saw. */
/** A line of a kernel's source. */
export interface SourceLine {
  readonly file: string;
  readonly line: number;
}

export interface EmulatorReport {
  readonly kind: string;
  readonly text: string;
  readonly file: string;
  readonly line: number;
  readonly count: number;
}

export interface Ran {
  readonly kind: 'ran';
  readonly cache: Uint8Array; // (pages of the pool, kvHeads, record bytes)
  readonly kResidual: Uint16Array; // (requests, 128, kvHeads, headSize), undefined past the tail
  readonly vResidual: Uint16Array; // as kResidual
  readonly output: Uint16Array; // (requests, queryTokens, queryHeads, headSize), words
  /** (requests, queryTokens, queryHeads), natural log; -Infinity without tokens */
  readonly lse: Float32Array;
  /** Of kernels whose layout is `values`; cache and residual windows are empty then. */
  readonly stored?: Stored;
  /** Dequantised keys, (sum of tokens, kvHeads, headSize), words; of a kernel that has them. */
  readonly kValues?: Uint16Array;
  readonly vValues?: Uint16Array; // as kValues
  readonly violations: readonly MemoryViolation[];
  readonly reports: readonly EmulatorReport[];
  /** Equal hashes: the same interleaving ran. Empty on a real device. */
  readonly scheduleHash: string;
  /** What decode cut the tokens of a request into; absent: the kernel does not say. */
  readonly splits?: number;
  /** Pages that the kernel says its cache has; absent: it does not say. */
  readonly pages?: number;
}

export type RunResult =
  | Ran
  | { readonly kind: 'unsupported'; readonly reason: string }
  /** The kernel returned an error for a case that supports() had accepted. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** source: the line of the kernel where an emulator stopped. */
  | { readonly kind: 'device-error'; readonly reason: string; readonly source?: SourceLine };

export interface Unrefused {
  /** Function of the interface. */
  readonly call: string;
  readonly fault: string;
  /** What came back instead of a refusal. */
  readonly found: string;
  /** Usually a refusal that touched nothing. */
  readonly required: string;
}

export interface Kernel {
  readonly uri: string;
  readonly device: Device;
  readonly capabilities: Capabilities;
  /**
   * Wrong arguments that no case can express (null pointers, a length below zero), each put beside
   * a case that the kernel supports: those that it did not refuse. Absent: the kernel has no
   * interface that they could be given to.
   */
  unrefused?(c: Case): readonly Unrefused[];
  /**
   * What the kernel itself says to a case, whatever its declaration says; as supports(). Absent:
   * the two are one.
   */
  answer?(c: Case): string | null;
  /** null when the kernel can run the case, else one sentence that says why not. */
  supports(c: Case): string | null;
  /** The kernel's own answer, where supports() is decided by its declaration before it is asked. */
  ownAnswer?(c: Case): string | null;
  /** Synchronous: it runs in a child process that a deadline can end. */
  run(c: Case, inputs: Inputs, options: RunOptions): RunResult;
  close(): void;
}
