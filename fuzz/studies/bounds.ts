// bounds.ts - question: how much do the proven bounds see that other acceptance rules do not, and
// how much room do they leave a right kernel?
//
// Design: (1) ten mistakes, each added to the result of a right kernel, at four lengths: in how
// many of 40 rows each rule rejects the result (bounds-sensitivity.ts). (2) the errors of a kernel
// over every distribution and several formats and lengths, divided by their bounds
// (bounds-ratios.ts).
//
// What would refute it: one element of a right kernel outside of either bound; a row of no mistake
// that is rejected. A row may move by an fp16 ulp and not be seen by L2 (movedUnseen): where the
// only element that does is so near to 0 that its ulp is below what exponentials leave open.

import { DISTRIBUTIONS } from '../../properties/recipe.js';
import { openKernel } from '../kernels/open.js';
import { measureRatios, type Ratios, type RatioTask } from './bounds-ratios.js';
import { type Sensitivity, sensitivityAt } from './bounds-sensitivity.js';
import type { OpenedStudy } from './study-messages.js';
import type { PlannedTask } from './study-pool.js';

export const BOUNDS_SCHEMA = 'kvproof.study.bounds/1';

export interface BoundsSetup {
  readonly study: 'bounds';
  readonly kernel: string;
}

export interface SensitivityTask {
  readonly study: 'bounds';
  readonly part: 'sensitivity';
  readonly tokens: number;
  readonly seed: number;
}

export type BoundsTask = SensitivityTask | RatioTask;

export interface BoundsTable {
  readonly sensitivity: readonly Sensitivity[];
  readonly ratios: readonly Ratios[];
}

/** Lengths of the cases of a distribution: short ones make rows, long ones make sums. */
const RATIO_LENGTHS = [33, 128, 257, 64, 300, 129, 1024, 1500, 777, 2049, 640, 4100];
const QUICK_LENGTHS = [33, 257, 129];

export function boundsTasks(seed: number, rows: number, quick: boolean): PlannedTask[] {
  const lengths = quick ? [128, 1024, 8192] : [128, 1024, 8192, 65536];
  const sensitivity = lengths.map((tokens): PlannedTask => {
    const key = `sensitivity/${tokens}`;
    return { key, place: key, task: { study: 'bounds', part: 'sensitivity', tokens, seed } };
  });
  const ratios = DISTRIBUTIONS.map((distribution): PlannedTask => {
    const key = `ratios/${distribution}`;
    const task: RatioTask = {
      ...{ study: 'bounds', part: 'ratios', distribution, seed, rows },
      lengths: quick ? QUICK_LENGTHS : RATIO_LENGTHS,
    };
    return { key, place: key, task };
  });
  return [...sensitivity, ...ratios];
}

export function boundsTable(
  tasks: readonly PlannedTask[],
  values: ReadonlyMap<string, unknown>,
): BoundsTable {
  const of = (part: string) =>
    tasks.filter(({ key }) => key.startsWith(part)).map(({ key }) => values.get(key));
  return {
    sensitivity: (of('sensitivity/') as Sensitivity[][]).flat(),
    ratios: of('ratios/') as Ratios[],
  };
}

/** What the study would be refuted by; 0 if it is not. */
export function refutations({ sensitivity, ratios }: BoundsTable): number {
  const wronglyRejected = sensitivity
    .filter(({ perturbation }) => perturbation === 'none')
    .reduce((sum, { rejected }) => sum + rejected.L1 + rejected.L2, 0);
  const violations = ratios.reduce((sum, r) => sum + r.violationsL1 + r.violationsL2, 0);
  return wronglyRejected + violations;
}

export function openBounds({ kernel: uri }: BoundsSetup): OpenedStudy {
  const opened = openKernel(uri, { checked: false });
  if (opened.kind === 'error') {
    return { kind: 'error', exitCode: opened.exitCode, message: opened.message };
  }
  const { kernel } = opened;
  return {
    kind: 'runner',
    runner: {
      device: kernel.device,
      run(task) {
        const own = task as BoundsTask;
        return own.part === 'ratios'
          ? measureRatios(kernel, own)
          : sensitivityAt(own.tokens, own.seed);
      },
    },
  };
}
