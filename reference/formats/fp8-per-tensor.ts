/**
 * fp8 with one scale for K and one for V of a whole layer: vLLM's and FlashInfer's kv_cache_dtype
 * fp8. vLLM uses a scale of 1 where the checkpoint has none. Arithmetic and layout:
 * fp8-arithmetic.ts.
 */
import { e4m3, e5m2 } from '../number-type.js';
import { defineFormat } from './define-format.js';
import type { FormatSpec } from './format-spec.js';
import { fp8Definition } from './fp8-arithmetic.js';

export const fp8E4m3PerTensor: FormatSpec = defineFormat(
  fp8Definition(e4m3, 'fp8-e4m3-per-tensor', 'for all requests and heads of a layer'),
);

export const fp8E5m2PerTensor: FormatSpec = defineFormat(
  fp8Definition(e5m2, 'fp8-e5m2-per-tensor', 'for all requests and heads of a layer'),
);
