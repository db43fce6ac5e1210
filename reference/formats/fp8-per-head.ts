/**
 * fp8 with one scale for each request and KV head: FlashAttention-3's k_descale and v_descale,
 * (batch, kv heads) in fp32. Arithmetic and layout: fp8-arithmetic.ts.
 */
import { e4m3, e5m2 } from '../number-type.js';
import { defineFormat } from './define-format.js';
import type { FormatSpec } from './format-spec.js';
import { fp8Definition } from './fp8-arithmetic.js';

export const fp8E4m3PerHead: FormatSpec = defineFormat(
  fp8Definition(e4m3, 'fp8-e4m3-per-head', 'for a KV head of a request'),
);

export const fp8E5m2PerHead: FormatSpec = defineFormat(
  fp8Definition(e5m2, 'fp8-e5m2-per-head', 'for a KV head of a request'),
);
