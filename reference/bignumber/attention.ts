/**
 * Softmax and attention of one query in many digits, by the definition in the header of
 * attention-with.ts: no base 2, no blocks, no maximum (nothing overflows here).
 */
import { type Big, type BigOf, exactly } from './big.js';

export interface BigAttention {
  /** (headSize) */
  readonly output: Big[];
  readonly lse: Big;
  /** sum_j w_j |v_jd| / L: what the error of an output is measured by, (headSize) */
  readonly magnitude: Big[];
}

export interface BigQuery {
  /** (headSize) */
  readonly q: readonly number[];
  /** (visible tokens)(headSize) */
  readonly k: readonly (readonly number[])[];
  readonly v: readonly (readonly number[])[];
  readonly scale: number;
  readonly softcap?: number;
  readonly sink?: number;
}

/** Weights e^s / sum, with the sink's among the sum only; and the log of the sum. */
export function bigSoftmax(
  big: BigOf,
  scores: readonly Big[],
  sink?: Big,
): { weights: Big[]; lse: Big } {
  const powers = scores.map((s) => s.exp());
  const others = sink === undefined ? big('0') : sink.exp();
  const sum = powers.reduce((a, b) => a.plus(b), others);
  return { weights: powers.map((w) => w.div(sum)), lse: sum.ln() };
}

function bigTanh(big: BigOf, x: Big): Big {
  const square = x.plus(x).exp();
  return square.minus(big('1')).div(square.plus(big('1')));
}

export function bigAttention(big: BigOf, query: BigQuery): BigAttention {
  const of = (x: number) => exactly(big, x);
  const zero = big('0');
  const q = query.q.map(of);
  const scores = query.k.map((row) => {
    const dot = row.reduce((sum, x, i) => sum.plus(q[i].times(of(x))), zero);
    const s = dot.times(of(query.scale));
    if (query.softcap === undefined) return s;
    const cap = of(query.softcap);
    return cap.times(bigTanh(big, s.div(cap)));
  });
  const sink = query.sink === undefined ? undefined : of(query.sink);
  const { weights, lse } = bigSoftmax(big, scores, sink);
  const weighted = (value: (x: number) => Big) =>
    query.q.map((_, d) =>
      weights.reduce((sum, w, j) => sum.plus(w.times(value(query.v[j][d]))), zero),
    );
  return { output: weighted(of), lse, magnitude: weighted((x) => of(Math.abs(x))) };
}
