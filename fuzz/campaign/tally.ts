// tally.ts - what a run looked at: cases and elements by property, closeness to the bound,
// coverage.
//
// Made from the records of the run, in the order of the plan, and from nothing else. A case counts
// as run when at least one property gave a verdict on it other than "unsupported".

import type { Case } from '../../properties/case.js';
import { type CaseRecord, CLIMBED } from './pool.js';

export interface PropertyTally {
  readonly name: string;
  cases: number;
  pass: number;
  fail: number;
  unsupported: number;
  elements: number;
  /** Largest error divided by its bound among passes. */
  largestRatio: number;
}

export interface LargestRatio {
  readonly ratio: number;
  readonly property: string;
  /** Hash of the case. */
  readonly case: string;
}

/** How many cases ran with each value of each trait, e.g. coverage.bits['4']. */
export type Coverage = Readonly<Record<Trait, Readonly<Record<string, number>>>>;

export type Trait = 'origin' | 'bits' | 'group' | 'tokens' | 'requests' | 'heads' | 'k' | 'v' | 'q';

export interface Tally {
  readonly cases: number;
  readonly elements: number;
  readonly properties: readonly PropertyTally[];
  readonly largestRatio: LargestRatio | null;
  readonly coverage: Coverage;
}

export function tally(records: readonly CaseRecord[], names: readonly string[]): Tally {
  const properties = new Map<string, PropertyTally>(
    names.map((name) => [
      name,
      { name, cases: 0, pass: 0, fail: 0, unsupported: 0, elements: 0, largestRatio: 0 },
    ]),
  );
  let cases = 0;
  let largest: LargestRatio | null = null;
  const coverage = emptyCoverage();
  for (const { planned, verdicts } of records) {
    for (const { property, verdict } of verdicts) {
      const row = properties.get(property);
      if (row === undefined) continue;
      row[verdict.kind] += 1;
      if (verdict.kind === 'unsupported') continue;
      row.cases += 1;
      if (verdict.kind === 'fail') continue;
      row.elements += verdict.elements;
      if (verdict.ratio > row.largestRatio) row.largestRatio = verdict.ratio;
      if (verdict.ratio > (largest?.ratio ?? 0)) {
        largest = { ratio: verdict.ratio, property, case: planned.hash };
      }
    }
    if (verdicts.every(({ verdict }) => verdict.kind === 'unsupported')) continue;
    cases += 1;
    for (const [trait, value] of traitsOf(planned.origin, planned.case)) {
      coverage[trait][value] = (coverage[trait][value] ?? 0) + 1;
    }
  }
  const rows = [...properties.values()];
  const elements = rows.reduce((sum, row) => sum + row.elements, 0);
  return { cases, elements, properties: rows, largestRatio: largest, coverage };
}

function emptyCoverage(): Record<Trait, Record<string, number>> {
  return {
    origin: {},
    bits: {},
    group: {},
    tokens: {},
    requests: {},
    heads: {},
    k: {},
    v: {},
    q: {},
  };
}

/**
 * A case has one value of each trait, except that its requests can be of several length classes.
 */
function traitsOf(origin: string, c: Case): [Trait, string][] {
  const { tokens, queryHeads, kvHeads } = c.problem;
  const lengths = [...new Set(tokens.map(lengthClass))];
  return [
    ['origin', ['generated', 'real-cache', CLIMBED].includes(origin) ? origin : 'stored'],
    ['bits', String(c.scheme.bits)],
    ['group', String(c.scheme.group)],
    ...lengths.map((value): [Trait, string] => ['tokens', value]),
    ['requests', tokens.length === 1 ? '1' : tokens.length <= 4 ? '2-4' : '5 and more'],
    ['heads', ratioClass(queryHeads / kvHeads)],
    ['k', c.tensors.k.distribution],
    ['v', c.tensors.v.distribution],
    ['q', c.tensors.q.distribution],
  ];
}

/** 128 tokens are a record; what does not fill one stays in the fp16 window. */
function lengthClass(tokens: number): string {
  if (tokens === 0) return '0';
  if (tokens < 128) return 'window only';
  if (tokens % 128 === 0) return tokens === 128 ? 'one record' : 'whole records';
  return tokens < 256 ? 'record and window' : 'records and window';
}

/** Query heads for each KV head; a query tile has 8 rows. */
function ratioClass(ratio: number): string {
  if (ratio === 1) return '1 per KV head';
  if (ratio < 8) return '2-7';
  return ratio === 8 ? '8' : 'more than 8';
}
