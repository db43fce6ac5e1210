// The public surface: the properties (catalogue.ts), and what is needed to write a kernel or a
// property.

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
export { firstLook, properties, propertiesFor } from './catalogue.js';
export {
  allCoverageCells,
  allFeatureCells,
  type CellSpace,
  coverageCells,
  coverageOf,
  featureCells,
  LENGTH_CLASSES,
  lengthClass,
  RATIO_CLASSES,
  ratioClass,
} from './coverage-cell.js';
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
export { ReferenceKernel } from './reference-kernel.js';
