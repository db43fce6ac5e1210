// What a format states about itself is read by people and by programs: every word of it is here a
// second time, so that none changes unseen. Made by what `texts` returns, then reviewed.

import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { bitdecoding } from '../scheme.js';
import { formats } from './index.js';

const path = new URL('statements.json', import.meta.url);
const reviewed: Record<string, unknown> = JSON.parse(readFileSync(path, 'utf8'));

/** Everything that a statement says, without its functions. */
const texts = (statement: object): unknown => JSON.parse(JSON.stringify(statement));

it('every format states what was reviewed, and no format is left out', () => {
  const stated = formats.map((format) => [format.format, texts(format)]);
  expect({ 'scheme bitdecoding': texts(bitdecoding), ...Object.fromEntries(stated) }).toEqual(
    reviewed,
  );
});
