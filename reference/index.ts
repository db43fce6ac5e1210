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
  dequantized,
  firstPages,
  type HeadCache,
  keyRows,
  oneQueryToken,
  packedTokens,
  readCache,
  referenceCache,
  referenceRecord,
  valueRows,
} from './cache.js';
export { exp2, exp2Error, ln2, log2, log2e } from './exp.js';
export {
  bf16FromF64,
  bf16Values,
  type ElementType,
  elementFromF64,
  elementRound,
  elementValues,
  f16FromF64,
  f16Round,
  f16Values,
  f64FromF16,
} from './format.js';
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
export {
  packPlainRecord,
  packRecord,
  recordBytes,
  stageBytes,
  unpackPlainRecord,
  unpackRecord,
} from './pack.js';
export { type PageTable, pageCount, pageLookup, recordCounts, usedPages } from './page-table.js';
export {
  elementType,
  firstTokens,
  headRows,
  type Problem,
  problemError,
  queriesPerKvHead,
  queryRowCount,
  queryTokenCount,
  queryTokensMax,
  visibleTokens,
} from './problem.js';
export {
  type Quantized,
  type QuantizedRecord,
  quantizeK,
  quantizeRecord,
  quantizeV,
} from './quantize.js';
export {
  bitdecoding,
  channelGroup,
  type FormatSpec,
  isPlain,
  type KeyAxis,
  recordTokens,
  type Scheme,
  schemeError,
} from './scheme.js';
