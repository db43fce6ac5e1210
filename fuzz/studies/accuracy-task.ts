// accuracy-task.ts - one source through all variants of a section: the unit of work of the accuracy
// study, as a worker process runs it.
//
// In the section `kernel` the variants run on the kernel itself, with every query of the sample as
// a head of the group. Its output is compared with float64 attention over its own cache (part
// 'kernel': the arithmetic alone) and over the true K and V (part 'total').

import { CASE_SCHEMA, type Case } from '../../properties/case.js';
import type { Kernel } from '../../properties/kernel.js';
import { f16FromF64, f16Values } from '../../reference/format.js';
import { attend, readCache } from '../../reference/index.js';
import { openKernel } from '../kernels/open.js';
import { type AccuracySource, sampleOf } from './accuracy-source.js';
import {
  type AttentionError,
  type HeadSample,
  outputError,
  type Part,
  TrueAttention,
} from './attention-error.js';
import { type CacheVariant, throughVariant } from './cache-variant.js';
import { type OpenedStudy, StudyFailure, type StudyRunner } from './study-messages.js';

export interface AccuracySetup {
  readonly study: 'accuracy';
  readonly kernel: string;
}

export interface AccuracyTask {
  readonly study: 'accuracy';
  readonly source: AccuracySource;
  readonly variants: readonly CacheVariant[];
  /** 'kernel': the variants run on the kernel. */
  readonly on: 'format' | 'kernel';
}

export interface AccuracyMeasurement {
  readonly variant: CacheVariant;
  readonly tokens: number;
  readonly bitsPerValue: number;
  readonly parts: readonly { part: Part; error: AttentionError }[];
}

export interface AccuracyValue {
  readonly measured: readonly AccuracyMeasurement[];
  readonly unsupported: readonly { variant: CacheVariant; reason: string }[];
}

/** Fills what the kernel has to write: a NaN of binary16. */
const POISON = 0xff;
const GIVEN = { distribution: 'zero', seed: 0, scale: 0, offset: 0 } as const;

export function openAccuracy(setup: AccuracySetup): OpenedStudy {
  const opened = openKernel(setup.kernel, { checked: false });
  if (opened.kind === 'error') return opened;
  return { kind: 'runner', runner: new AccuracyRunner(opened.kernel) };
}

export class AccuracyRunner implements StudyRunner {
  constructor(private readonly kernel: Kernel) {}

  get device() {
    return this.kernel.device;
  }

  run({ source, variants, on }: AccuracyTask): AccuracyValue {
    const made = sampleOf(source);
    if (made.kind === 'error') throw new StudyFailure(made.message, 2);
    const { sample } = made;
    const truth = new TrueAttention(sample);
    const measured: AccuracyMeasurement[] = [];
    const unsupported: { variant: CacheVariant; reason: string }[] = [];
    for (const variant of variants) {
      const changed = throughVariant(variant, sample);
      const parts =
        changed.kind === 'cache' && on === 'kernel' ? this.kernelParts(variant, truth) : changed;
      if (parts.kind === 'unsupported') {
        unsupported.push({ variant, reason: parts.reason });
      } else if (changed.kind === 'cache') {
        const { tokens } = sample;
        const found = parts.kind === 'parts' ? parts.parts : truth.compare(changed.k, changed.v);
        measured.push({ variant, tokens, bitsPerValue: changed.bitsPerValue, parts: found });
      }
    }
    return { measured, unsupported };
  }

  private kernelParts(variant: CacheVariant, truth: TrueAttention): KernelParts {
    const { sample } = truth;
    const c = kernelCase(variant, sample);
    const reason = this.kernel.supports(c);
    if (reason !== null) return { kind: 'unsupported', reason };
    const bits = (x: Float32Array) => Uint16Array.from(x, f16FromF64);
    const inputs = { q: bits(sample.q), k: bits(sample.k), v: bits(sample.v) };
    const ran = this.kernel.run(c, inputs, { poison: POISON });
    if (ran.kind !== 'ran') {
      const lost = ran.kind === 'device-error';
      throw new StudyFailure(`${this.kernel.uri}: ${ran.reason}`, lost ? 4 : 3);
    }
    const heads = readCache(c.problem, c.scheme, ran.cache, ran.kResidual, ran.vResidual);
    const exact = attend(c.problem, sample.softmaxScale, inputs.q, heads);
    const output = Float64Array.from(ran.output, (word) => f16Values[word]);
    const none = { kl: null, tv: null, top1: null };
    const { queries } = sample;
    return {
      kind: 'parts',
      parts: [
        { part: 'kernel', error: { ...outputError(output, exact.output, queries), ...none } },
        { part: 'both', error: { ...outputError(exact.output, truth.output, queries), ...none } },
        { part: 'total', error: { ...outputError(output, truth.output, queries), ...none } },
      ],
    };
  }
}

type KernelParts =
  | { kind: 'parts'; parts: AccuracyMeasurement['parts'] }
  | { kind: 'unsupported'; reason: string };

function kernelCase(variant: CacheVariant, sample: HeadSample): Case {
  const { kBits, kAxis, group } = variant;
  const { tokens, queries, headSize, softmaxScale } = sample;
  return {
    schema: CASE_SCHEMA,
    problem: { tokens: [tokens], queryHeads: queries, kvHeads: 1, headSize },
    // A scheme that the kernel does not know comes back from `supports` as a sentence.
    scheme: { format: 'bitdecoding', kAxis, bits: kBits, group } as Case['scheme'],
    tensors: { q: GIVEN, k: GIVEN, v: GIVEN },
    options: { softmaxScale, splits: 0 },
  };
}
