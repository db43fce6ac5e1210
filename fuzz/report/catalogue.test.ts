// The catalogue pages are what the sources say, now.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { properties } from '../../properties/index.js';
import { formats } from '../../reference/index.js';
import { packageRoot } from '../campaign/package-root.js';
import { DOCS, formatPage, propertyPage } from './catalogue.js';

const page = (name: string) => join(packageRoot(), DOCS, name);

describe('the catalogue pages are current', () => {
  it('properties', async () => {
    await expect(propertyPage(properties)).toMatchFileSnapshot(page('properties.md'));
  });

  it('formats', async () => {
    await expect(formatPage(formats)).toMatchFileSnapshot(page('formats.md'));
  });
});

describe('a page of the catalogue', () => {
  it('has a section for each property, with its blind spot and an existing file', () => {
    const text = propertyPage(properties);
    for (const { name, blind } of properties) {
      expect(text).toContain(`\n## ${name}\n`);
      expect(blind.length).toBeGreaterThan(20);
      expect(existsSync(join(packageRoot(), 'properties', `${name}.ts`)), name).toBe(true);
    }
  });

  it('lets no text of a source become markup', () => {
    const [first] = properties;
    const text = propertyPage([{ ...first, statement: 'a | <b> `c` *d*' }]);
    expect(text).toContain('a \\| \\<b\\> \\`c\\` \\*d\\*');
  });

  it('changes with a source', () => {
    const [first] = formats;
    expect(formatPage([{ ...first, rounding: 'toward zero' }])).not.toBe(formatPage([first]));
  });
});
