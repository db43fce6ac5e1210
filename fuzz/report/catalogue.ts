// catalogue.ts - the pages fuzz/docs/properties.md and fuzz/docs/formats.md, made of what the
// sources say: the statement and the blind spot of each property, the spec of each cache format.
// Written by hand they would drift; catalogue.test.ts requires that the stored pages are these.

import type { Property } from '../../properties/index.js';
import type { CacheFormat } from '../../reference/index.js';

/** The folder of the pages, seen from the package. */
export const DOCS = 'fuzz/docs';

export function propertyPage(properties: readonly Property[]): string {
  return [
    '# Properties',
    '',
    'What must hold for any kernel, in the order in which a case is judged, and what each property',
    'cannot see: none of them is enough alone. A property that a kernel does not declare the means',
    'for says `unsupported`; `run` is judged before all of them.',
    '',
    GENERATED,
    '',
    ...properties.flatMap((property) => [...propertySection(property), '']),
  ].join('\n');
}

function propertySection({ name, statement, blind, oneIn }: Property): string[] {
  const often = oneIn === undefined ? 'Every case.' : `One generated case in ${oneIn}.`;
  return [
    `## ${name}`,
    '',
    plain(statement),
    '',
    `- Cannot see: ${plain(blind)}`,
    `- ${often} [\`properties/${name}.ts\`](../../properties/${name}.ts)`,
  ];
}

export function formatPage(formats: readonly CacheFormat[]): string {
  return [
    '# Cache formats',
    '',
    'Each format as its spec in `reference/formats` states it: how values become codes, what is',
    'stored, and what becomes of values at the edges. `RN16`, `RN32`: rounded once to binary16 or',
    'binary32, to nearest, ties to even. A kernel in a process names one of these as its format.',
    '',
    GENERATED,
    '',
    ...formats.flatMap((format) => [...formatSection(format), '']),
  ].join('\n');
}

function formatSection(f: CacheFormat): string[] {
  const given = f.given === undefined ? [] : [`- Given: ${plain(f.given)}`];
  const sizes = f.headSizes.length === 0 ? 'any that fits' : f.headSizes.join(', ');
  return [
    `## ${f.format}`,
    '',
    `- Bits ${f.bits.join(', ')}; groups of ${f.groups.join(', ')}; head size ${sizes}; ` +
      `values ${f.inputs.join(', ')}`,
    `- K: ${plain(f.axis.k)}`,
    `- V: ${plain(f.axis.v)}`,
    `- Scale ${f.scaleType}, zero ${f.zeroType ?? 'none'}: ${plain(f.zero)}`,
    ...given,
    `- Rounding: ${plain(f.rounding)}`,
    `- Dequantised: ${plain(f.dequantized)}`,
    `- Residual window: ${plain(f.residual)}`,
    `- Layout: ${plain(f.map)}`,
    `- Source: ${plain(f.source)}`,
    `- Checked: ${plain(f.verified)}`,
    '',
    '```text',
    ...f.steps,
    '```',
    '',
    '| case | becomes |',
    '|---|---|',
    ...[...Object.entries(f.degenerate), ...Object.entries(f.nonFinite)].map(
      ([when, what]) => `| ${plain(when)} | ${plain(what)} |`,
    ),
    '',
    '| value | type |',
    '|---|---|',
    ...Object.entries(f.types).map(([value, type]) => `| ${plain(value)} | ${plain(type)} |`),
  ];
}

const GENERATED =
  'Made from the sources; `npx vitest run fuzz/report/catalogue.test.ts -u` writes it again.';

/** A text in Markdown that means nothing but itself. */
function plain(text: string): string {
  return text.replace(/[*_<>|`[\]\\]/g, (character) => `\\${character}`);
}
