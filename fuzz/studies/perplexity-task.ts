// perplexity-task.ts - one window through one cache: the unit of work of the perplexity study, as a
// worker process runs it.

import type { Kernel } from '../../properties/kernel.js';
import { openKernel } from '../kernels/open.js';
import { type CacheConfig, kQuantizer, vQuantizer } from './cache-config.js';
import { KernelAttention, KernelFailure, unsupportedReason } from './kernel-attention.js';
import { plainQuantizer } from './quantizer.js';
import { ReferenceAttention } from './reference-attention.js';
import { type CacheAttention, type Protocol, ScoredWindows } from './scored-windows.js';
import { type OpenedStudy, StudyFailure, type StudyRunner } from './study-messages.js';

export interface PerplexitySetup {
  readonly study: 'perplexity';
  readonly kernel: string;
  /** corpus/code-lm with the weights. */
  readonly model: string;
  readonly protocol: Protocol;
}

export interface PerplexityTask {
  readonly study: 'perplexity';
  readonly window: number;
  /** null: K and V in fp16, the base. */
  readonly config: CacheConfig | null;
}

export type PerplexityValue =
  /** Sum of the losses of the scored tokens, natural log. */
  { kind: 'nll'; sum: number; tokens: number } | { kind: 'unsupported'; reason: string };

export function openPerplexity(setup: PerplexitySetup): OpenedStudy {
  const loaded = ScoredWindows.load(setup.model, setup.protocol);
  if (loaded.kind === 'error') return { kind: 'error', exitCode: 3, message: loaded.message };
  const opened = openKernel(setup.kernel, { checked: false });
  if (opened.kind === 'error') return opened;
  return {
    kind: 'runner',
    runner: new PerplexityRunner(setup.protocol, loaded.windows, opened.kernel),
  };
}

export class PerplexityRunner implements StudyRunner {
  constructor(
    private readonly protocol: Protocol,
    private readonly windows: ScoredWindows,
    private readonly kernel: Kernel,
  ) {}

  get device() {
    return this.kernel.device;
  }

  run({ window, config }: PerplexityTask): PerplexityValue {
    if (window >= this.windows.count) {
      const found = `${this.windows.count} windows in the evaluation tokens`;
      throw new StudyFailure(`window ${window}: found ${found}`, 2);
    }
    const reference = this.kernel.uri === 'ref:' || config === null;
    if (!reference) {
      const reason = unsupportedReason(this.kernel, config, this.protocol);
      if (reason !== null) return { kind: 'unsupported', reason };
    }
    const attention = reference
      ? this.reference(config)
      : new KernelAttention(this.kernel, config, this.protocol);
    return this.scored(window, attention);
  }

  private reference(config: CacheConfig | null): CacheAttention {
    const { workbench } = this.windows;
    const kept = plainQuantizer(16, 'token', 128);
    if (config === null) return new ReferenceAttention(workbench, kept, kept);
    return new ReferenceAttention(workbench, kQuantizer(config), vQuantizer(config));
  }

  private scored(window: number, attention: CacheAttention): PerplexityValue {
    try {
      const losses = this.windows.losses(window, attention);
      return { kind: 'nll', sum: losses.reduce((a, b) => a + b, 0), tokens: losses.length };
    } catch (error) {
      if (!(error instanceof KernelFailure)) throw error;
      throw new StudyFailure(error.message, error.deviceLost ? 4 : 3);
    }
  }
}
