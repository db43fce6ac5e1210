// exact-codes: what the kernel wrote to its cache is what the format says, bit for bit.
//
// The kernel's records are read with the independent layout of reference/pack.ts and compared with
// reference/quantize.ts, token by token, so that a permutation that writer and reader share is
// seen. Two things are not bits: the sign of a zero scale or zero point (+0 and -0 dequantise
// alike) and the payload of a NaN. There is no tie band: the format fixes the rounding of every
// step.

import { f64FromF16 } from '../reference/format.js';
import { recordBytes, unpackPlainRecord, unpackRecord } from '../reference/pack.js';
import { packedTokens, pageLookup, recordCounts } from '../reference/page-table.js';
import { elementType, firstTokens, headRows } from '../reference/problem.js';
import { type Quantized, quantizeRecord } from '../reference/quantize.js';
import { isPlain, recordTokens } from '../reference/scheme.js';
import type { Case } from './case.js';
import type { Ran } from './kernel.js';
import { pageTable } from './pages.js';
import type { Judgement, Property, Verdict } from './property.js';
import { judgeStored } from './stored-codes.js';

/** A place where found and required differ. */
interface Mismatch {
  /** Names the tensor and what of it: the rest of the signature. */
  readonly rule: string;
  readonly index: number;
  readonly found: number;
  readonly required: number;
}

/** fp16 parameters with the same meaning: +0 and -0, any two NaN. */
function sameValue(a: number, b: number): boolean {
  if (a === b) return true;
  const [x, y] = [f64FromF16(a), f64FromF16(b)];
  return x === y || (Number.isNaN(x) && Number.isNaN(y));
}

function differs(
  rule: string,
  found: ArrayLike<number>,
  required: ArrayLike<number>,
  same: (a: number, b: number) => boolean,
): Mismatch | null {
  for (let index = 0; index < required.length; index++) {
    if (!same(found[index], required[index])) {
      return { rule, index, found: found[index], required: required[index] };
    }
  }
  return null;
}

/** Parameters first: a wrong scale explains wrong codes better than the reverse. */
function compareQuantized(tensor: string, found: Quantized, required: Quantized): Mismatch | null {
  return (
    differs(`${tensor}-zeros`, found.zeros, required.zeros, sameValue) ??
    differs(`${tensor}-scales`, found.scales, required.scales, sameValue) ??
    differs(`${tensor}-codes`, found.codes, required.codes, Object.is)
  );
}

/** Calls `visit` for every record of a cache until it returns something. */
function eachRecord<T>(
  judgement: Judgement,
  visit: (request: number, record: number, head: number, place: number) => T | null,
): T | null {
  const { problem } = judgement.case;
  const pageOf = pageLookup(problem, pageTable(judgement.case));
  for (const [request, records] of recordCounts(problem).entries()) {
    for (let record = 0; record < records; record++) {
      for (let head = 0; head < problem.kvHeads; head++) {
        const place = pageOf(request, record) * problem.kvHeads + head;
        const result = visit(request, record, head, place);
        if (result !== null) return result;
      }
    }
  }
  return null;
}

/** One record against what the format makes of its rows, k and v (128, headSize). */
function compareRecord(
  { problem, scheme }: Case,
  record: Uint8Array,
  k: Uint16Array,
  v: Uint16Array,
): Mismatch | null {
  const { headSize } = problem;
  if (isPlain(scheme)) {
    const found = unpackPlainRecord(scheme, headSize, record);
    return differs('k-words', found.k, k, Object.is) ?? differs('v-words', found.v, v, Object.is);
  }
  const found = unpackRecord(scheme, headSize, record);
  const required = quantizeRecord(scheme, k, v, headSize, elementType(problem));
  return compareQuantized('k', found.k, required.k) ?? compareQuantized('v', found.v, required.v);
}

function compareRecords(judgement: Judgement, ran: Ran): Verdict | null {
  const { problem, scheme } = judgement.case;
  const { k, v } = judgement.inputs;
  const bytes = recordBytes(scheme, problem.headSize);
  const first = firstTokens(problem);
  return eachRecord(judgement, (request, index, head, place) => {
    const stored = ran.cache.subarray(place * bytes, (place + 1) * bytes);
    const from = first[request] + index * recordTokens;
    const kRows = headRows(problem, k, head, from, recordTokens);
    const vRows = headRows(problem, v, head, from, recordTokens);
    const mismatch = compareRecord(judgement.case, stored, kRows, vRows);
    if (mismatch === null) return null;
    const record = `request ${request}, record ${index}, KV head ${head}`;
    const { rule, index: element, found: value, required } = mismatch;
    return {
      kind: 'fail',
      signature: `exact-codes/${rule}`,
      message: `cache (${record}) ${rule}[${element}]: found ${value}, required ${required}`,
    };
  });
}

/** The rows that stay in fp16 must be the input's own bits. */
function compareResidual(judgement: Judgement, ran: Ran): Verdict | null {
  const { problem } = judgement.case;
  const rowSize = problem.kvHeads * problem.headSize;
  const first = firstTokens(problem);
  for (let request = 0; request < problem.tokens.length; request++) {
    const tokens = problem.tokens[request];
    const from = (first[request] + packedTokens(tokens)) * rowSize;
    const count = (tokens - packedTokens(tokens)) * rowSize;
    const window = request * recordTokens * rowSize;
    for (const tensor of ['k', 'v'] as const) {
      const found = (tensor === 'k' ? ran.kResidual : ran.vResidual).subarray(window);
      const required = judgement.inputs[tensor].subarray(from, from + count);
      const mismatch = differs(`${tensor}-residual`, found, required, Object.is);
      if (mismatch === null) continue;
      const { rule, index, found: value, required: expected } = mismatch;
      const row = Math.floor(index / rowSize);
      const place = `[${request}, ${row}, ${Math.floor((index % rowSize) / problem.headSize)}]`;
      return {
        kind: 'fail',
        signature: `exact-codes/${rule}`,
        message: `${rule}${place}: found the word ${value}, required ${expected}`,
      };
    }
  }
  return null;
}

export const exactCodes: Property = {
  name: 'exact-codes',
  statement:
    'Codes, scales, zeros and the rows kept as they came equal, bit for bit, what the format ' +
    'makes of K and V.',
  blind:
    'Everything after the cache is written, and the rows of the residual window past the last ' +
    'token.',

  judge(judgement: Judgement): Verdict {
    const base = judgement.base();
    if (base.kind === 'failed') return base.verdict;
    const { capabilities } = judgement.kernel;
    if (capabilities.layout === 'values') return judgeStored(judgement, base.value);
    const failed = compareRecords(judgement, base.value) ?? compareResidual(judgement, base.value);
    if (failed !== null) return failed;
    const { k, v } = judgement.inputs;
    return { kind: 'pass', elements: k.length + v.length, ratio: 0 };
  },
};
