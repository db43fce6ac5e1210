// Judgement: a case on a kernel, with its runs and references made once and shared by all
// properties.
//
// The first run is poisoned with 0xff (NaN as fp16 and as float32, so that 0 * poison shows), the
// second with 0x5a (finite, so that a maximum that drops NaN shows) and on an adversarial schedule
// that the name of the case decides. A run that the kernel refuses or that comes back in the wrong
// shape is a failed verdict here, so that no property has to look at anything but results.

import { anyArithmetic } from '../reference/arithmetic.js';
import { boundL1 } from '../reference/bound.js';
import { readCache } from '../reference/cache.js';
import { recordBytes } from '../reference/pack.js';
import { pageCount } from '../reference/page-table.js';
import { queryRowCount } from '../reference/problem.js';
import { recordTokens } from '../reference/scheme.js';
import { type Case, caseHash, tensorElements } from './case.js';
import { type Key, keyOf } from './generator.js';
import { fnv1a64 } from './hash.js';
import type {
  Capabilities,
  Inputs,
  Kernel,
  Ran,
  RunOptions,
  RunResult,
  Schedule,
} from './kernel.js';
import type { TensorSource } from './materialize.js';
import { brokenLaw } from './memory-law.js';
import { pageTable } from './pages.js';
import type { Judgement, Observation, Outcome, Verdict } from './property.js';
import { observeStored, storedError } from './stored.js';

export const FIRST_POISON = 0xff;
export const SECOND_POISON = 0x5a;

/** An adversarial schedule for the second run; kernels on real devices ignore it. */
function adversary(c: Case): Schedule {
  const bits = Number.parseInt(caseHash(c).slice(0, 8), 16);
  const policies = ['random', 'starve', 'pct'] as const;
  const copies = ['lazy', 'random'] as const;
  return {
    policy: policies[bits % 3],
    copies: copies[(bits >>> 4) & 1],
    seed: bits >>> 1,
    starvedWarp: (bits >>> 6) & 3,
  };
}

/** For rescheduled(): every policy that is not round robin, with other seeds than again() has. */
function furtherAdversaries(c: Case): Schedule[] {
  const { copies, seed, starvedWarp } = adversary(c);
  return (['random', 'starve', 'pct'] as const).map((policy, i) => ({
    policy,
    copies: i === 0 && copies === 'lazy' ? 'random' : 'lazy',
    seed: (seed + i + 1) >>> 0,
    starvedWarp: ((starvedWarp ?? 0) + i + 1) & 3,
  }));
}

const fail = (signature: string, message: string): Outcome<never> => ({
  kind: 'failed',
  verdict: { kind: 'fail', signature, message },
});

/** What is wrong with the lengths of a result, in one sentence, or null. */
function shapeError(c: Case, capabilities: Capabilities, ran: Ran): string | null {
  const { tokens, kvHeads, headSize } = c.problem;
  const residual = tokens.length * recordTokens * kvHeads * headSize;
  const rows = queryRowCount(c.problem);
  const values = tensorElements(c.problem).kv;
  const required: [string, number, number][] = [
    ['output', ran.output.length, rows * headSize],
    ['lse', ran.lse.length, capabilities.lse === false ? 0 : rows],
    ['kValues', ran.kValues?.length ?? values, values],
    ['vValues', ran.vValues?.length ?? values, values],
  ];
  const pages = pageCount(c.problem, pageTable(c)) * kvHeads;
  const records = (): [string, number, number][] => [
    ['cache', ran.cache.length, pages * recordBytes(c.scheme, headSize)],
    ['kResidual', ran.kResidual.length, residual],
    ['vResidual', ran.vResidual.length, residual],
  ];
  if (capabilities.layout === 'record128') required.push(...records());
  const wrong = required.find(([, found, expected]) => found !== expected);
  if (wrong) return `${wrong[0]}: found ${wrong[1]} values, required ${wrong[2]}`;
  return capabilities.layout === 'values' ? storedError(c, capabilities, ran) : null;
}

class LazyJudgement implements Judgement {
  private first: Outcome<Ran> | undefined;
  private second: Outcome<Ran> | undefined;
  private firstObservation: Outcome<Observation> | undefined;
  private furtherRuns: readonly Outcome<Ran>[] | undefined;
  private seed: number | undefined;

  readonly case: Case;

  constructor(
    readonly kernel: Kernel,
    c: Case,
    readonly inputs: Inputs,
    readonly source: TensorSource,
  ) {
    this.case = c;
  }

  base(): Outcome<Ran> {
    this.first ??= this.unchecked(this.case, this.inputs, {});
    return this.first;
  }

  again(): Outcome<Ran> {
    this.second ??= this.unchecked(this.case, this.inputs, {
      poison: SECOND_POISON,
      schedule: adversary(this.case),
    });
    return this.second;
  }

  rescheduled(): readonly Outcome<Ran>[] {
    this.furtherRuns ??= furtherAdversaries(this.case).map((schedule) =>
      this.unchecked(this.case, this.inputs, { schedule }),
    );
    return this.furtherRuns;
  }

  key(property: string): Key {
    this.seed ??= Number.parseInt(caseHash(this.case).slice(0, 8), 16);
    return keyOf(this.seed, Number.parseInt(fnv1a64(property).slice(0, 8), 16));
  }

  reference(): Outcome<Observation> {
    this.firstObservation ??= this.observed(this.case, this.inputs, this.base());
    return this.firstObservation;
  }

  run(inputs: Inputs, options: Partial<RunOptions> = {}, c: Case = this.case): Outcome<Ran> {
    const reason = c === this.case ? null : this.kernel.supports(c);
    if (reason !== null) return { kind: 'failed', verdict: { kind: 'unsupported', reason } };
    const ran = this.unchecked(c, inputs, options);
    if (ran.kind === 'failed') return ran;
    const broken = brokenLaw('run', ran.value);
    return broken === null ? ran : { kind: 'failed', verdict: broken };
  }

  observe(
    inputs: Inputs,
    options: Partial<RunOptions> = {},
    c: Case = this.case,
  ): Outcome<Observation> {
    return this.observed(c, inputs, this.run(inputs, options, c));
  }

  /** The runs of the case itself are judged by redzone.ts and memory-laws.ts. */
  private unchecked(c: Case, inputs: Inputs, options: Partial<RunOptions>): Outcome<Ran> {
    const result = this.kernel.run(c, inputs, { poison: FIRST_POISON, ...options });
    return outcomeOf(c, this.kernel.capabilities, result);
  }

  private observed(c: Case, inputs: Inputs, ran: Outcome<Ran>): Outcome<Observation> {
    if (ran.kind === 'failed') return ran;
    const { capabilities } = this.kernel;
    if (capabilities.layout === 'values') return observeStored(c, capabilities, inputs, ran.value);
    const { problem, scheme, options } = c;
    const { cache, kResidual, vResidual } = ran.value;
    const heads = readCache(problem, scheme, cache, kResidual, vResidual, pageTable(c));
    const arithmetic = capabilities.arithmetic ?? anyArithmetic;
    const bound = boundL1(problem, options.softmaxScale, inputs.q, heads, arithmetic);
    return { kind: 'ok', value: { inputs, run: ran.value, heads, bound } };
  }
}

function outcomeOf(c: Case, capabilities: Capabilities, result: RunResult): Outcome<Ran> {
  switch (result.kind) {
    case 'ran': {
      const wrong = shapeError(c, capabilities, result);
      return wrong === null ? { kind: 'ok', value: result } : fail('run/shape', wrong);
    }
    case 'unsupported': {
      const verdict: Verdict = { kind: 'unsupported', reason: result.reason };
      return { kind: 'failed', verdict };
    }
    case 'refused':
      return fail('run/refused', `the kernel refused a case that it supports: ${result.reason}`);
    case 'device-error':
      return fail('run/device-error', `the device reported an error: ${result.reason}`);
  }
}

export function judgementOf(
  kernel: Kernel,
  c: Case,
  inputs: Inputs,
  source: TensorSource,
): Judgement {
  return new LazyJudgement(kernel, c, inputs, source);
}
