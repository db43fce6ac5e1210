// The public surface: the properties in the order in which a campaign judges them, cheapest first (by
// the runs and references that each adds to those before it), and what is needed to write a kernel or
// a property.

import { constantV } from './constant-v.js';
import { determinism } from './determinism.js';
import { errorBound } from './error-bound.js';
import { exactCodes } from './exact-codes.js';
import { needle } from './needle.js';
import type { Property } from './property.js';
import { redzone } from './redzone.js';
import { zeroQuery } from './zero-query.js';

/** Runs: 1, +1, +0, then one more for each; references: from error-bound on one for each. */
export const properties: readonly Property[] = [
  exactCodes,
  redzone,
  determinism,
  errorBound,
  zeroQuery,
  constantV,
  needle,
];

export { anyCase, type CaseSpace, caseArbitrary, defaultSpace } from './arbitrary/case.js';
export {
  CASE_SCHEMA,
  type Case,
  type CaseOptions,
  canonicalJson,
  caseHash,
  multiplyAdds,
  tensorElements,
} from './case.js';
export { judgementOf } from './judgement.js';
export type {
  Capabilities,
  Device,
  EmulatorReport,
  FormatSupport,
  Inputs,
  Kernel,
  MemoryViolation,
  Ran,
  RunOptions,
  RunResult,
  Schedule,
} from './kernel.js';
export {
  type Materialized,
  materialize,
  noSource,
  type SourceResult,
  type SourceTensor,
  type TensorSource,
} from './materialize.js';
export { LIMITS, type ParsedCase, parseCase } from './parse-case.js';
export type {
  Judgement,
  Observation,
  Outcome,
  Property,
  Verdict,
  Worst,
} from './property.js';
export { DISTRIBUTIONS, type Distribution, decodeF16, encodeF16, type Recipe } from './recipe.js';
