// schemeArbitrary: cache formats, one entry for every combination that a kernel declares.
//
// A table rather than a record of fields: not every combination of bits, axis and group exists, and
// a shrink step should move between schemes that do.

import type fc from 'fast-check';
import type { Scheme } from '../../reference/scheme.js';
import type { FormatSupport } from '../kernel.js';
import { type Thin, wholeSwarm } from './swarm.js';
import { Choice } from './whole.js';

/** All schemes of the reference, simplest first: the fewest parameters and the most exact codes. */
export const anyFormats: readonly FormatSupport[] = [
  {
    format: 'bitdecoding',
    kAxis: ['channel'],
    bits: [4, 2],
    groups: [128, 64, 32],
    headSizes: [128, 64, 256],
  },
  {
    format: 'bitdecoding',
    kAxis: ['channel'],
    bits: [8],
    groups: [128, 64, 32],
    headSizes: [128, 64, 256],
  },
  {
    format: 'bitdecoding',
    kAxis: ['token'],
    bits: [4, 2, 8],
    groups: [128, 64, 32, 256],
    headSizes: [128, 64, 256],
  },
  { format: 'fp16', kAxis: ['channel'], bits: [16], groups: [128], headSizes: [128, 64, 256] },
];

export function schemesOf(formats: readonly FormatSupport[]): Scheme[] {
  const all = formats.flatMap(({ format, kAxis, bits, groups }) =>
    kAxis.flatMap((axis) =>
      bits.flatMap((b) =>
        groups.map((group) => ({ format, kAxis: axis, bits: b, group }) as unknown as Scheme),
      ),
    ),
  );
  // Entries of a declaration may overlap.
  return all.filter((scheme, i) => all.findIndex((other) => equal(scheme, other)) === i);
}

function equal(a: Scheme, b: Scheme): boolean {
  return a.format === b.format && a.kAxis === b.kAxis && a.bits === b.bits && a.group === b.group;
}

const isScheme = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && 'format' in value && 'group' in value;

/**
 * A width has code of its own however few schemes it has: with the fourth root, one that has a
 * single scheme is drawn six times where one of seven schemes is drawn ten times.
 */
function weightOf(schemes: readonly Scheme[], bits: number): number {
  const alike = schemes.filter((scheme) => scheme.bits === bits).length;
  return Math.round(12 / alike ** 0.75);
}

export function schemeArbitrary(
  formats: readonly FormatSupport[],
  thin: Thin = wholeSwarm,
): fc.Arbitrary<Scheme> {
  const schemes = schemesOf(formats);
  const weights = thin(schemes.map(({ bits }) => weightOf(schemes, bits)));
  return new Choice(schemes, weights, isScheme, equal);
}
