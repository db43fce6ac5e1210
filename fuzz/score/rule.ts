// rule.ts - by which numbers other projects accept an output, as data: `--oracle NAME`.
//
// A rule looks at the error of one output (properties/output-error.ts) and, where the project does
// so, at the errors of the clean kernel on the same kind of cases. It kills a mutant if it rejects
// one of the cases on which it accepts the clean kernel; what it rejects of the clean kernel's is a
// false positive, and says nothing about a mutant.

import type { OutputError } from '../../properties/output-error.js';
import type { Control, MutantResult, RuleScore } from './result.js';

export interface Rule {
  readonly name: string;
  /** What it requires, and whose tests do. */
  readonly statement: string;
  /** control: absolute errors of the clean kernel, ascending. */
  accepts(error: OutputError, control: readonly number[]): boolean;
}

/** FlashAttention's tests add this to twice the error of PyTorch in fp16. */
const FLASH_ATTENTION_FLOOR = 1e-5;

export const rules: readonly Rule[] = [
  {
    name: 'allclose-1e-2',
    statement: 'torch.allclose with rtol = atol = 1e-2 (vLLM, FlashInfer)',
    accepts: ({ relative }) => relative <= 1e-2,
  },
  {
    name: 'allclose-1e-3',
    statement: 'torch.allclose with rtol = atol = 1e-3 (FlashInfer)',
    accepts: ({ relative }) => relative <= 1e-3,
  },
  {
    name: 'flash-attention-2x',
    statement: 'at most twice the largest error of PyTorch in fp16, plus 1e-5 (FlashAttention)',
    accepts: ({ absolute, halfAbsolute }) => absolute <= 2 * halfAbsolute + FLASH_ATTENTION_FLOOR,
  },
  {
    name: 'mean-absolute-1e-1',
    statement: 'mean absolute error below 1e-1 (BitDecoding)',
    accepts: ({ meanAbsolute }) => meanAbsolute < 1e-1,
  },
  {
    name: 'mse-1',
    statement: 'mean square error below 1.0 (FlashInfer, fp8 on Hopper)',
    accepts: ({ meanSquare }) => meanSquare < 1,
  },
  {
    name: 'percent-98',
    statement: '98 % of the elements within rtol = atol = 1e-2 (FlashInfer, XQA)',
    accepts: ({ closeShare }) => closeShare >= 0.98,
  },
  {
    name: 'p95-controls-1.5',
    statement: 'at most 1.5 times the 95th percentile of the error of right kernels (gpuemu)',
    accepts: ({ absolute }, control) => absolute <= 1.5 * percentile95(control),
  },
];

export function scoreRules(
  names: readonly string[],
  results: readonly MutantResult[],
  control: Control,
): Record<string, RuleScore> {
  const errors = control.errors.map(({ absolute }) => absolute).sort((a, b) => a - b);
  const counted = results.filter(isCounted);
  return Object.fromEntries(
    rules
      .filter(({ name }) => names.includes(name))
      .map((rule) => {
        const rejects = (error: OutputError) => !(error.ran && rule.accepts(error, errors));
        const accepted = new Set(control.errors.filter((e) => !rejects(e)).map((e) => e.case));
        const kills = (error: OutputError) => accepted.has(error.case) && rejects(error);
        const killed = counted.filter((r) => r.errors.some(kills)).length;
        const falsePositives = control.errors.filter(rejects).length;
        return [rule.name, { killed, total: counted.length, falsePositives }];
      }),
  );
}

/** A mutant that runs and is no equivalent one. */
export function isCounted({ status }: MutantResult): boolean {
  return status === 'killed' || status === 'survived';
}

/** By nearest rank; 0 of none. */
function percentile95(sorted: readonly number[]): number {
  return sorted.length === 0 ? 0 : sorted[Math.ceil(0.95 * sorted.length) - 1];
}
