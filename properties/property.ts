// Property: a statement that must hold for any Kernel on a Case, and the verdict on it.
//
// A verdict counts what was compared and how close it came to the limit, so that "pass" can be told
// from "nothing was looked at". A signature names the property and the tensor or rule that failed;
// it holds no number and no message text, so that one bug keeps one signature over thousands of
// cases.
//
// This file holds types and little else. judgement.ts makes the Judgement that a property reads.

import type { BoundResult } from '../reference/bound.js';
import type { HeadCache } from '../reference/cache.js';
import type { Case } from './case.js';
import type { Key } from './generator.js';
import type { Inputs, Kernel, Ran, RunOptions, SourceLine } from './kernel.js';
import type { TensorSource } from './materialize.js';

/** The element that lies furthest from its reference, measured in its own bound. */
export interface Worst {
  readonly tensor: 'output' | 'lse' | 'cache' | 'residual';
  /** Coordinates in the tensor's shape, outermost first; for a cache, see the message. */
  readonly index: readonly number[];
  readonly value: number;
  readonly reference: number;
  readonly bound: number;
  /** |value - reference| / bound; Infinity when the bound is 0 or anything is NaN. */
  readonly ratio: number;
}

export type Verdict =
  | {
      readonly kind: 'pass';
      /** Elements compared; 0 only where the case has none. */
      readonly elements: number;
      /** Largest error divided by its bound; 0 for properties that compare bits. */
      readonly ratio: number;
    }
  | {
      readonly kind: 'fail';
      /** Property and rule, e.g. "error-bound/output". */
      readonly signature: string;
      /** One sentence: where, what was found, what is required. */
      readonly message: string;
      readonly worst?: Worst;
      /** Line of the kernel's source, where an emulator knows it. */
      readonly source?: SourceLine;
    }
  | { readonly kind: 'unsupported'; readonly reason: string };

/** Verdict of relations that move tokens about where their order is known to later queries. */
export const manyQueryTokens: Verdict = {
  kind: 'unsupported',
  reason: 'query tokens see different tokens, whose places matter',
};

export type Failure = Extract<Verdict, { kind: 'fail' }>;

/** One run of the kernel with what float64 says about it. */
export interface Observation {
  readonly inputs: Inputs;
  readonly run: Ran;
  /** (requests, kvHeads): the kernel's own cache, read back by the independent layout. */
  readonly heads: readonly HeadCache[];
  readonly bound: BoundResult;
}

/** `failed` carries the verdict that a property returns when there is nothing to compare. */
export type Outcome<T> =
  | { readonly kind: 'ok'; readonly value: T }
  | { readonly kind: 'failed'; readonly verdict: Verdict };

/** What a property may read: a case on a kernel, with the first run and its reference cached. */
export interface Judgement {
  readonly kernel: Kernel;
  readonly case: Case;
  readonly inputs: Inputs;
  readonly source: TensorSource;
  /** The first run of the case, shared by all properties. */
  base(): Outcome<Ran>;
  /** The first run with the reference over the kernel's own cache, shared by all properties. */
  reference(): Outcome<Observation>;
  /** A second run of the case, with another poison and on another schedule, shared too. */
  again(): Outcome<Ran>;
  /** Runs of the case under further schedules, with the first poison, shared too. */
  rescheduled(): readonly Outcome<Ran>[];
  /**
   * A further run of other inputs, at the same case unless another is given. It must keep the laws
   * of memory (memory-law.ts), whatever property it is for; another case must be one of the
   * kernel's.
   */
  run(inputs: Inputs, options?: Partial<RunOptions>, c?: Case): Outcome<Ran>;
  /** A further run with its own reference. */
  observe(inputs: Inputs, options?: Partial<RunOptions>, c?: Case): Outcome<Observation>;
  /** Key for the choices of a property: a function of the case's name and the property's. */
  key(property: string): Key;
}

export interface Property {
  readonly name: string;
  /** What must hold, in one sentence. */
  readonly statement: string;
  /** What this property cannot see, in one sentence. */
  readonly blind: string;
  /**
   * A campaign judges the property on one generated case in so many, which the case's name decides
   * (choice.ts); replay and shrinking always judge it. Absent: on every case.
   */
  readonly oneIn?: number;
  /**
   * Looks at answers of supports() alone, so that a declared case which the kernel declines is
   * judged as well: nothing else sees a kernel that declines everything.
   */
  readonly ofAnswers?: true;
  judge(judgement: Judgement): Verdict;
}
