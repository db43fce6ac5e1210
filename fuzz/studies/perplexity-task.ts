// perplexity-task.ts - one window through one cache: the unit of work of the perplexity study, as a
// worker process runs it.

import type { Kernel } from '../../properties/kernel.js';
import { openKernel } from '../kernels/open.js';
import { type CacheConfig, kQuantizer, vQuantizer } from './cache-config.js';
import { KernelAttention, KernelFailure, unsupportedReason } from './kernel-attention.js';
import { PinnedCache, RecordingCache } from './pinned-states.js';
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
  /** pinned: K and V of the reference's pass enter the kernel's cache (pinned-states.ts). */
  readonly states: 'pinned' | 'free';
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
    runner: new PerplexityRunner(setup, loaded.windows, opened.kernel),
  };
}

export class PerplexityRunner implements StudyRunner {
  constructor(
    private readonly setup: Pick<PerplexitySetup, 'protocol' | 'states'>,
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
      const reason = unsupportedReason(this.kernel, config, this.setup.protocol);
      if (reason !== null) return { kind: 'unsupported', reason };
    }
    return this.scored(window, reference ? this.reference(config) : this.onKernel(window, config));
  }

  private reference(config: CacheConfig | null): CacheAttention {
    const { workbench } = this.windows;
    const kept = plainQuantizer(16, 'token', 128);
    if (config === null) return new ReferenceAttention(workbench, kept, kept);
    return new ReferenceAttention(workbench, kQuantizer(config), vQuantizer(config));
  }

  private onKernel(window: number, config: CacheConfig): CacheAttention {
    const attention = new KernelAttention(this.kernel, config, this.setup.protocol);
    if (this.setup.states === 'free') return attention;
    const recording = new RecordingCache(this.reference(config));
    this.windows.losses(window, recording);
    return new PinnedCache(attention, recording.states);
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
