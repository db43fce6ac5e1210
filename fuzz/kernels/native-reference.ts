// native-reference.ts - cases judged by the reference in native code (native/twin), where the
// kernel runs: requests to the addon and what comes back.
//
// What it can judge: kernels with our records and folded arithmetic, on cases whose tensors are
// drawn from recipes and whose tokens come all at once. Its verdicts are counts, and what they say
// is no finding: a case that did not pass goes to the properties.

import type { Case } from '../../properties/case.js';
import type { Capabilities, Ran } from '../../properties/kernel.js';
import type { Distribution, DrawnRecipe, Recipe } from '../../properties/recipe.js';
import type { Arithmetic, BoundResult } from '../../reference/bound.js';
import { elementType } from '../../reference/problem.js';
import { builtLibrary, CUDA_REMEDY } from './built-library.js';
import type { NativeKernel } from './native.js';
import { nativeInputs, nativeProblem } from './native-problem.js';

/** Counts of native/twin/twin_abi.h, kvp_twin_verdict. */
export interface NativeVerdict {
  readonly kind: 'judged' | 'unsupported' | 'refused';
  readonly text: string;
  readonly wrongCodes: number;
  readonly redzoneBytes: number;
  readonly changedInputs: number;
  readonly unwrittenBytes: number;
  readonly differingBytes: number;
  readonly strayBytes: number;
  /** Elements of output and lse outside of their bounds. */
  readonly rejected: number;
  /** Of output and lse; of k and v; bytes that must be defined. */
  readonly elements: number;
  readonly values: number;
  readonly definedBytes: number;
  /** Largest error over its bound. */
  readonly ratio: number;
}

export type NativeBatch =
  | { readonly kind: 'done'; readonly verdicts: readonly NativeVerdict[] }
  | { readonly kind: 'error' | 'device-error'; readonly message: string };

/** The last case of a batch: tensors, the first run, and what float64 says about it. */
export interface NativeResults {
  readonly q: Uint16Array;
  readonly k: Uint16Array;
  readonly v: Uint16Array;
  readonly cache: Uint8Array;
  readonly kResidual: Uint16Array;
  readonly vResidual: Uint16Array;
  readonly output: Uint16Array;
  readonly lse: Float32Array;
  readonly reference: Float64Array;
  readonly radius: Float64Array;
  readonly bound: Float64Array;
  readonly alternative: Float64Array;
  readonly referenceLse: Float64Array;
  readonly lseBound: Float64Array;
  readonly valueMax: Float64Array;
  readonly guarded: Uint8Array;
}

/** Those that native/twin/generate.h draws, at their numbers there. */
const NATIVE: readonly (Distribution | 'code-lm' | 'literal')[] = [
  ...(['zero', 'constant', 'alternating', 'ramp-head', 'ramp-channel', 'ramp-token'] as const),
  ...(['repeated-token', 'uniform', 'normal', 'grid', 'ties', 'subnormal'] as const),
  ...(['near-overflow', 'heavy-tail', 'all-exponents', 'signed-zero'] as const),
  ...(['outlier-channels', 'sink', 'needle', 'huge-token', 'outlier-group'] as const),
  ...(['extremes', 'patchwork', 'non-finite', 'uneven-ties', 'non-finite-groups'] as const),
  ...(['binades', 'non-finite-last', 'paired-records', 'opposite-records'] as const),
  ...(['graded', 'counter-graded', 'one-sided'] as const),
];

const isDrawn = (recipe: Recipe): boolean => NATIVE.includes(recipe.distribution);

/** Why the native reference has nothing to say about a kernel, or null. */
export function unjudgedKernel({ layout, arithmetic }: Capabilities): string | null {
  if (layout !== 'record128') return 'the kernel keeps its cache in a layout of its own';
  return arithmetic?.operands === 'folded' ? null : 'the kernel does not declare that it folds';
}

/** The same of a case. */
export function unjudgedCase(c: Case): string | null {
  if ((c.options.appended ?? 0) > 0) return 'tokens are appended';
  return Object.values(c.tensors).every(isDrawn) ? null : 'a tensor is none that native code draws';
}

const inputsOf = { q: new Uint16Array(0), k: new Uint16Array(0), v: new Uint16Array(0) };

function requestOf(c: Case) {
  const recipe = (x: Recipe) => {
    const { distribution, seed, scale, offset } = x as DrawnRecipe;
    return { distribution: NATIVE.indexOf(distribution), seed, scale, offset };
  };
  const { pageTable } = nativeInputs(c, inputsOf);
  const { q, k, v } = c.tensors;
  return {
    problem: nativeProblem(c, c.options.splits),
    ...(pageTable === undefined ? {} : { pageTable }),
    ...{ q: recipe(q), k: recipe(k), v: recipe(v) },
  };
}

/** What the addon is asked to judge cases that unjudgedCase accepts. */
export function judgeRequest({ arithmetic }: Capabilities, cases: readonly Case[]): object {
  const { fraction, fusedProducts, sumLanes, rescaleTokens = 0 } = arithmetic as Arithmetic;
  const own = { fraction, fusedProducts, sumLanes, rescaleTokens };
  return { call: 'judge', arithmetic: own, cases: cases.map(requestOf) };
}

export type NativeReferenceResult =
  | { kind: 'reference'; reference: NativeReference }
  | { kind: 'error'; message: string };

export class NativeReference {
  private constructor(
    private readonly kernel: NativeKernel,
    private readonly path: string,
  ) {}

  /** Of a kernel on a GPU or in host memory; an error is one sentence. */
  static of(kernel: NativeKernel): NativeReferenceResult {
    const { capabilities, device } = kernel;
    const why = unjudgedKernel(capabilities);
    if (why !== null) return { kind: 'error', message: `${kernel.uri}: ${why}` };
    const isOnGpu = device.sm.startsWith('sm_') && !capabilities.emulated;
    const built = isOnGpu
      ? builtLibrary('libkvproof_twin.so', CUDA_REMEDY)
      : builtLibrary('libkvproof_twin_host.so');
    if (built.kind === 'error') return built;
    return { kind: 'reference', reference: new NativeReference(kernel, built.path) };
  }

  /** Judges cases that unjudgedCase accepts, one batch on the device. */
  judge(cases: readonly Case[]): NativeBatch {
    const request = judgeRequest(this.kernel.capabilities, cases);
    return this.kernel.twin(this.path, request) as NativeBatch;
  }

  /** Of the last case of the last batch. */
  read(): NativeResults {
    const results = this.kernel.twin(this.path, { call: 'read' }) as
      | ({ kind: 'done' } & NativeResults)
      | { kind: 'error'; message: string };
    if (results.kind === 'error') throw new Error(results.message);
    return results;
  }
}

/** What a judgement calls the first run and the bound. */
export function observationOf(c: Case, results: NativeResults): { run: Ran; bound: BoundResult } {
  const { cache, kResidual, vResidual, output, lse, guarded } = results;
  const run: Ran = {
    ...{ kind: 'ran', cache, kResidual, vResidual, output, lse },
    ...{ violations: [], reports: [], scheduleHash: '' },
  };
  const bound: BoundResult = {
    type: elementType(c.problem),
    output: results.reference,
    outputRadius: results.radius,
    outputBound: results.bound,
    ...{ lse: results.referenceLse, lseBound: results.lseBound },
    ...{ valueMax: results.valueMax, guarded },
    alternative: results.alternative,
  };
  return { run, bound };
}
