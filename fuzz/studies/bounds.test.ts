// Tests of the study of bounds: what no mistake and a large mistake do to each rule, what a
// perturbation is, and what refutes the study.
import { describe, expect, it } from 'vitest';
import { ReferenceKernel } from '../../properties/reference-kernel.js';
import { boundsTable, boundsTasks, refutations } from './bounds.js';
import { type ExactRow, perturbations } from './bounds-perturbations.js';
import { measureRatios } from './bounds-ratios.js';
import { RULES, sensitivityAt } from './bounds-sensitivity.js';

const change = (name: string, row: ExactRow) =>
  perturbations.find((p) => p.name === name)?.change(row) ?? [];

/** Two tokens of equal weight and two channels; everything hits token 0 and channel 0. */
const row: ExactRow = {
  ...{ tokens: 2, headSize: 2, max: 0, sum: 2 },
  scores: Float64Array.of(0, 0),
  v: Float64Array.of(1, 2, 3, 4),
  codes: Uint8Array.of(1, 2, 0, 0),
  scales: Float64Array.of(0.5, 0.75),
  output: Float64Array.of(2, 3),
  neighbour: Float64Array.of(5, 5),
  below: () => 0,
};

describe('mistakes', () => {
  it.each<[string, number[]]>([
    ['none', [0, 0]],
    ['dropped key', [1, 1]],
    ['duplicated key', [-1 / 3, -1 / 3]],
    ['two V entries swapped', [0, 0]], // of equal weights
    ['one score off by 1 %', [0, 0]], // of a score of 0
    ['one V code off by one', [0.25, 0]],
    ["a V scale of the next token's", [0.125, 0.25]],
    ['wrong head', [3, 2]],
    ['P rounded to bf16', [0, 0]],
    ['missing rescale', [0, 0]],
    ['accumulators in fp16', [0, 0]],
  ])('%s', (name, expected) => {
    const found = [...change(name, row)];
    expect(found).toHaveLength(2);
    found.forEach((x, d) => {
      expect(x).toBeCloseTo(expected[d], 12);
    });
  });
});

describe('sensitivity at 128 tokens', () => {
  const found = sensitivityAt(128, 1);
  const of = (name: string) => found.find(({ perturbation }) => perturbation === name);

  it('rejects nothing of a right kernel', () => {
    expect(of('none')).toMatchObject({ rows: 40, moved: 0 });
    for (const rule of RULES) expect(of('none')?.rejected[rule]).toBe(0);
  });

  it('sees by L2 what others do not', () => {
    expect(of('wrong head')?.rejected).toEqual(Object.fromEntries(RULES.map((r) => [r, 40])));
    expect(of('dropped key')?.rejected.L2).toBe(40);
    expect(of('P rounded to bf16')?.rejected.L2).toBe(40);
    expect(of('P rounded to bf16')?.rejected['allclose 1e-3']).toBeLessThan(20);
  });
});

describe('ratios', () => {
  it('are those of every element with a bound', () => {
    const task = { study: 'bounds', part: 'ratios', distribution: 'normal', seed: 1 } as const;
    const found = measureRatios(new ReferenceKernel(), { ...task, lengths: [33, 130], rows: 64 });
    expect(found).toMatchObject({ rows: 128, guarded: 0, elements: 128 * 128, violationsL1: 0 });
    expect(found.l2).toBeNull();
    expect(found.l1.max).toBeLessThanOrEqual(1);
    expect(found.l1.median).toBeGreaterThan(0);
    expect(found.l1.p99).toBeGreaterThan(found.l1.median);
  });

  it('refute the study by an element outside of a bound', () => {
    const tasks = boundsTasks(1, 64, true);
    const ratio = { violationsL1: 0, violationsL2: 0 };
    const values = new Map<string, unknown>(
      tasks.map(({ key }) => [key, key.startsWith('ratios/') ? ratio : []]),
    );
    expect(refutations(boundsTable(tasks, values))).toBe(0);
    values.set('ratios/zero', { violationsL1: 1, violationsL2: 2 });
    expect(refutations(boundsTable(tasks, values))).toBe(3);
  });
});
