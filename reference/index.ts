/**
 * The public surface of the reference: exports only. Everything else in this folder is internal.
 */
export { type Attention, attend } from './attention.js';
export { type AttentionOptions, optionsError, visibleRanges } from './attention-options.js';
export {
  type AttentionRows,
  cacheRows,
  type PagePool,
  pagedRows,
  pageTableError,
  plainRows,
} from './attention-rows.js';
export { attendWith } from './attention-with.js';
export {
  allRows,
  firstPages,
  type HeadCache,
  keyRows,
  packedTokens,
  readCache,
  referenceCache,
  valueRows,
} from './cache.js';
export { exp2, exp2Error, ln2, log2, log2e } from './exp.js';
export { f16FromF64, f16Round, f16Values, f64FromF16 } from './format.js';
export {
  type Codes,
  type FormatSpec as CacheFormat,
  formatNamed,
  formats,
  type HeadTensor,
  type Packed,
  type Place,
} from './formats/index.js';
export { type NumberName, type NumberType, numberTypes } from './number-type.js';
export { packRecord, recordBytes, unpackRecord } from './pack.js';
export { firstTokens, headRows, type Problem, problemError, queriesPerKvHead } from './problem.js';
export { type Quantized, quantizeK, quantizeV } from './quantize.js';
export {
  bitdecoding,
  type FormatSpec,
  recordTokens,
  type Scheme,
  schemeError,
} from './scheme.js';
