// Sites of systematic mutants: each edit changes one thing of a line, applies exactly once, and
// leaves comments, strings and declarations alone.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../campaign/package-root.js';
import { applyEdits } from '../kernels/mutant.js';
import { MUTATION_KINDS, mutationSites } from './mutation-site.js';

const changes = (line: string) =>
  mutationSites('native/kernels/x.h', `start;\n${line}\nend;`)
    .filter(({ line: number }) => number === 2)
    .map(({ kind, change }) => `${kind}: ${change}`);

describe('mutationSites', () => {
  it('changes operators, constants and limits, and deletes statements', () => {
    expect(changes('  for (int i = 0; i < n; i++) x[i] = a + 16;')).toEqual([
      'operator: < became <=',
      'operator: + became -',
      'constant: 0 became 1',
      'constant: 16 became 17',
      'constant: 16 became 15',
      'off-by-one: [i] became [i + 1]',
      'off-by-one: the loop to n ends one earlier',
    ]);
    expect(changes('  dev::syncwarp();')).toEqual(['deleted-statement: deleted: dev::syncwarp();']);
  });

  it.each([
    '#include "a + b.h"',
    '// a + 16',
    '  static_assert(a + b == 16);',
    'template <int A, int B = 3>',
    '  "a + 16"',
  ])('leaves %s alone', (line) => {
    expect(changes(line)).toEqual([]);
  });

  it('leaves comments behind code and strings inside of it alone', () => {
    expect(changes('  f("a + 1");  // b + 2')).toEqual(['deleted-statement: deleted: f(       );']);
  });

  it('makes edits of a kernel that apply as they are, of every kind', () => {
    const file = 'native/kernels/quantize_pack.cu';
    const text = readFileSync(join(packageRoot(), file), 'utf8');
    const sites = mutationSites(file, text);
    for (const kind of MUTATION_KINDS) {
      expect(sites.filter((site) => site.kind === kind).length).toBeGreaterThan(5);
    }
    for (const { find, replace } of sites) {
      const edited = applyEdits([{ file, find, replace }], () => text);
      expect(edited.kind).toBe('edited');
    }
  });
});
