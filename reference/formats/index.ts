/**
 * All cache formats by name: exports only.
 */
import { bitdecodingKChannel } from './bitdecoding-k-channel.js';
import { bitdecodingKTensor } from './bitdecoding-k-tensor.js';
import type { FormatSpec } from './format-spec.js';
import { fp8E4m3PerHead, fp8E5m2PerHead } from './fp8-per-head.js';
import { fp8E4m3PerTensor, fp8E5m2PerTensor } from './fp8-per-tensor.js';
import { kivi } from './kivi.js';
import { llamaQ40 } from './llama-q4-0.js';
import { llamaQ80 } from './llama-q8-0.js';
import { nvfp4 } from './nvfp4.js';
import { onnxGqa } from './onnx-gqa.js';
import { qserveZint4 } from './qserve-zint4.js';
import { record128, record128KToken } from './record128.js';
import { turbomindU4, turbomindU8 } from './turbomind.js';
import { vllmInt8 } from './vllm-int8.js';

export type {
  Codes,
  FormatSpec,
  HeadTensor,
  Packed,
  Place,
} from './format-spec.js';

/** Every format, our own first. */
export const formats: readonly FormatSpec[] = [
  record128,
  record128KToken,
  bitdecodingKChannel,
  bitdecodingKTensor,
  kivi,
  qserveZint4,
  turbomindU4,
  turbomindU8,
  vllmInt8,
  llamaQ40,
  llamaQ80,
  onnxGqa,
  fp8E4m3PerTensor,
  fp8E5m2PerTensor,
  fp8E4m3PerHead,
  fp8E5m2PerHead,
  nvfp4,
];

/** The format of a name, or null. */
export function formatNamed(name: string): FormatSpec | null {
  return formats.find((f) => f.format === name) ?? null;
}
