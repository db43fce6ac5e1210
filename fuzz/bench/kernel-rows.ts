// kernel-rows.ts - the rows of `bench kernel`: which operation at which shape in which format, and
// the bytes that each has to move at least.
//
// decode reads the packed records, the residual windows and q, and writes the output: what counts
// is reading. quantize reads K and V and writes the records; append writes a token to the windows,
// and reads a window and writes a record when it is full: both move bytes in two directions.

import { CASE_SCHEMA, type Case } from '../../properties/case.js';
import { recordBytes } from '../../reference/pack.js';
import { recordTokens, type Scheme } from '../../reference/scheme.js';
import type { TimedOp } from './device.js';

export interface Shape {
  readonly batch: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly tokens: number;
}

export interface RowPlan extends Shape {
  readonly op: TimedOp;
  readonly scheme: Scheme;
}

export const HEAD_SIZE = 128;
const WORD_BYTES = 2;

/** The shapes of a long prompt, of two sizes of a crowd, and of the shortest that is a launch. */
const DECODE_SHAPES: readonly Shape[] = [
  { batch: 1, queryHeads: 32, kvHeads: 32, tokens: 131_072 },
  { batch: 1, queryHeads: 32, kvHeads: 8, tokens: 131_072 },
  { batch: 8, queryHeads: 32, kvHeads: 8, tokens: 32_768 },
  { batch: 32, queryHeads: 32, kvHeads: 8, tokens: 4096 },
  { batch: 1, queryHeads: 32, kvHeads: 32, tokens: 4096 },
];
const [LONG, LONG_GROUPED, CROWD] = DECODE_SHAPES;

function scheme(
  bits: Scheme['bits'],
  group: Scheme['group'] = 128,
  kAxis: Scheme['kAxis'] = 'channel',
): Scheme {
  return { format: bits === 16 ? 'fp16' : 'bitdecoding', kAxis, bits, group };
}

/** fp16 first: what the others are compared with. */
export function rowPlans(): RowPlan[] {
  const rows = (op: TimedOp, shape: Shape, schemes: readonly Scheme[]): RowPlan[] =>
    schemes.map((s) => ({ op, ...shape, scheme: s }));
  const widths = [scheme(16), scheme(8), scheme(4), scheme(2)];
  const others = [
    ...[scheme(4, 32), scheme(4, 64), scheme(4, 128, 'token')],
    ...[scheme(2, 32), scheme(2, 64), scheme(2, 128, 'token')],
  ];
  const step = (batch: number, tokens: number) => ({ batch, queryHeads: 32, kvHeads: 8, tokens });
  return [
    ...DECODE_SHAPES.flatMap((shape) => rows('decode', shape, widths)),
    ...rows('decode', LONG, others),
    ...rows('quantize', LONG, [...widths, ...others]),
    ...rows('quantize', LONG_GROUPED, widths.slice(2)),
    ...rows('quantize', CROWD, widths.slice(2)),
    // In the middle of a window, and with the token that fills it.
    ...[1, 32].flatMap((batch) => [
      ...rows('append', step(batch, 4096 + 64), widths.slice(2)),
      ...rows('append', step(batch, 4096), widths.slice(2)),
    ]),
  ];
}

/** The row as a case; `tensors` are the clock's own and only name something here. */
export function caseOf({ batch, queryHeads, kvHeads, tokens, scheme: s }: RowPlan): Case {
  const zero = { distribution: 'zero', seed: 0, scale: 0, offset: 0 } as const;
  return {
    schema: CASE_SCHEMA,
    problem: { tokens: Array(batch).fill(tokens), queryHeads, kvHeads, headSize: HEAD_SIZE },
    scheme: s,
    tensors: { q: zero, k: zero, v: zero },
    options: { softmaxScale: Math.fround(1 / Math.sqrt(HEAD_SIZE)), splits: 0 },
  };
}

export interface Traffic {
  readonly bytes: number;
  /** The ceiling that bounds it. */
  readonly ceiling: 'read' | 'copy';
}

export function trafficOf({ op, batch, queryHeads, kvHeads, tokens, scheme: s }: RowPlan): Traffic {
  const heads = batch * kvHeads;
  const records = Math.floor(tokens / recordTokens);
  const record = recordBytes(s, HEAD_SIZE);
  const row = 2 * HEAD_SIZE * WORD_BYTES; // of K and V
  const tail = tokens % recordTokens;
  const packed = heads * records * record;
  switch (op) {
    case 'decode': {
      const queries = 2 * batch * queryHeads * HEAD_SIZE * WORD_BYTES;
      return { bytes: packed + heads * tail * row + queries, ceiling: 'read' };
    }
    case 'quantize':
      return { bytes: packed + heads * (tokens + tail) * row, ceiling: 'copy' };
    case 'append': {
      const full = tail === 0 ? recordTokens * row + record : 0;
      return { bytes: heads * (2 * row + full), ceiling: 'copy' };
    }
  }
}
