/**
 * A Case's scheme for any format of this folder: what is wrong with it, and the tensors that it
 * makes of K and V. Formats whose records our own kernels keep are judged by scheme.ts.
 *
 * A scheme names a format, the axis of K, the bits of a code and the group; a group of the whole
 * row ('all' in a spec) is written as the head size, and "fp16" stands for values kept as they
 * came. Formats with a scale that is given (fp8, NVFP4) cannot be said by a scheme yet.
 */
import type { Problem } from '../problem.js';
import { type Scheme, schemeError } from '../scheme.js';
import type { FormatSpec, HeadTensor, TensorName } from './format-spec.js';
import { formatNamed } from './index.js';

/** The spec of a scheme's format; null: values as they came, or records of scheme.ts. */
export function specOf(scheme: Scheme): FormatSpec | null {
  return formatNamed(scheme.format);
}

/** K or V of one KV head under a scheme. */
export function headTensor(
  spec: FormatSpec,
  scheme: Scheme,
  tensor: TensorName,
  tokens: number,
  headSize: number,
): HeadTensor {
  const { bits } = scheme;
  const group = spec.groups.includes(scheme.group) ? scheme.group : 'all';
  return { tensor, tokens, headSize, bits, group, input: 'f16' };
}

function listError(name: string, found: string | number, allowed: readonly unknown[]) {
  const list = allowed.map((x) => JSON.stringify(x)).join(', ');
  return `scheme.${name}: ${JSON.stringify(found)} is not one of ${list}`;
}

function specError(spec: FormatSpec, scheme: Scheme, p: Problem): string | null {
  const axis: string = spec.axisOf.k;
  if (spec.given !== undefined) {
    return `scheme.format: ${spec.format} needs ${spec.given}, which a case cannot say`;
  }
  if (scheme.kAxis !== axis) return listError('kAxis', scheme.kAxis, [axis]);
  if (!spec.bits.includes(scheme.bits)) return listError('bits', scheme.bits, spec.bits);
  const groups = spec.groups.map((group) => (group === 'all' ? p.headSize : group));
  if (!groups.includes(scheme.group)) return listError('group', scheme.group, groups);
  // Without tokens only the head size is judged; how many fill a block is the kernel's business.
  for (const tensor of ['k', 'v'] as const) {
    const wrong = spec.error(headTensor(spec, scheme, tensor, 0, p.headSize));
    if (wrong !== null) return `scheme: ${wrong}`;
  }
  return null;
}

/** What is wrong with the scheme of a case, whatever its format, in one sentence, or null. */
export function caseSchemeError(scheme: Scheme, p: Problem): string | null {
  const spec = specOf(scheme);
  return spec === null ? schemeError(scheme, p) : specError(spec, scheme, p);
}
