// cell-coverage.ts - which part of a kernel's domain a run has reached, and which it has not.
//
// The cells of properties/coverage-cell.ts are the whole product of bits, group, axis, head size,
// ratio, length and distribution: a night fills them, a gate does not. What a gate can fill are the
// pairs: every value of one field together with every value of another. So both are counted, and
// the pairs that are missing are named.

import { allCoverageCells, type CellSpace, coverageCells } from '../../properties/coverage-cell.js';
import type { Capabilities } from '../../properties/kernel.js';
import type { CaseRecord } from './pool.js';

export interface CellCoverage {
  readonly reached: number;
  readonly total: number;
  readonly pairs: {
    readonly reached: number;
    readonly total: number;
    /** e.g. "2 bits with group 32", in the order of the fields. */
    readonly missing: readonly string[];
  };
}

/** Lengths from here on are one class, so that a run of any size can reach all. */
const TOKENS_MAX = 2048;

export function cellCoverage(
  records: readonly CaseRecord[],
  capabilities: Capabilities,
  space: Omit<CellSpace, 'tokensMax'>,
): CellCoverage {
  const all = allCoverageCells(capabilities, { ...space, tokensMax: TOKENS_MAX });
  const known = new Set(all);
  const ran = records.filter(({ verdicts }) =>
    verdicts.some(({ verdict }) => verdict.kind !== 'unsupported'),
  );
  const reached = new Set(
    ran.flatMap(({ planned }) => coverageCells(planned.case)).filter((cell) => known.has(cell)),
  );
  const pairs = pairsOf(all);
  const met = pairsOf(reached);
  const missing = [...pairs].filter((pair) => !met.has(pair));
  return {
    reached: reached.size,
    total: known.size,
    pairs: { reached: pairs.size - missing.length, total: pairs.size, missing },
  };
}

/** Before the value of each field of a cell's name, and behind it. */
const LABELS: readonly (readonly [string, string])[] = [
  ['', ' bits'],
  ['group ', ''],
  ['K by ', ''],
  ['head size ', ''],
  ['', ''],
  ['', ''],
  ['', ''],
];

function labelled(value: string, field: number): string {
  const [before, behind] = LABELS[field] ?? ['', ''];
  return `${before}${value}${behind}`;
}

/** A pair is in some thousand cells: it is named where it is first met. */
function pairsOf(cells: Iterable<string>): Set<string> {
  const pairs = new Set<string>();
  const partners = new Map<number, Map<string, Set<string>>>();
  for (const cell of cells) {
    const fields = cell.split('/');
    for (let i = 0; i < fields.length; i++) {
      for (let j = i + 1; j < fields.length; j++) {
        const place = i * fields.length + j;
        const ofPlace = partners.get(place) ?? new Map<string, Set<string>>();
        partners.set(place, ofPlace);
        const known = ofPlace.get(fields[i]) ?? new Set<string>();
        ofPlace.set(fields[i], known);
        if (known.has(fields[j])) continue;
        known.add(fields[j]);
        pairs.add(`${labelled(fields[i], i)} with ${labelled(fields[j], j)}`);
      }
    }
  }
  return pairs;
}
