// Which files a score takes, and that what is no mutant is refused before anything runs.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expand, readMutantSet } from './mutant-set.js';

const root = mkdtempSync(join(tmpdir(), 'kvproof-mutants-'));
afterAll(() => rmSync(root, { recursive: true }));

function mutantText(id: string): string {
  const edits = [{ file: 'native/kernels/combine.cu', find: 'a', replace: 'b' }];
  return JSON.stringify({ id, class: 'softmax', story: 's', precedent: 'none known', edits });
}

beforeAll(() => {
  mkdirSync(join(root, 'deep', 'er'), { recursive: true });
  for (const path of ['one', 'two', 'deep/three', 'deep/er/four']) {
    writeFileSync(join(root, `${path}.json`), mutantText(path.split('/').at(-1) as string));
  }
  writeFileSync(join(root, 'notes.txt'), 'no mutant');
});

const names = (pattern: string) =>
  expand(join(root, pattern)).map((path) => path.slice(root.length + 1));

describe('expand', () => {
  it.each([
    ['one.json', ['one.json']],
    ['.', ['one.json', 'two.json']],
    ['*.json', ['one.json', 'two.json']],
    ['t?o.json', ['two.json']],
    ['{one,two}.json', ['one.json', 'two.json']],
    [`{${'x'.repeat(300)},two}.json`, ['two.json']],
    ['[n-p]*.json', ['one.json']],
    ['[!n-p]*.json', ['two.json']],
    ['*/*.json', ['deep/three.json']],
    ['**/*.json', ['deep/er/four.json', 'deep/three.json', 'one.json', 'two.json']],
    ['deep/**/f*.json', ['deep/er/four.json']],
    ['*.txt', []],
    ['missing/*.json', []],
    ['o+e.json', []],
  ])('reads %s as a shell does', (pattern, expected) => {
    expect(names(pattern).sort()).toEqual(expected);
  });
});

describe('readMutantSet', () => {
  it('takes each file once, in the order of the paths', () => {
    const set = readMutantSet([join(root, '*.json'), join(root, 'one.json')]);
    if (set.kind === 'error') throw new Error(set.message);
    expect(set.mutants.map(({ mutant }) => mutant.id)).toEqual(['one', 'two']);
  });

  it('refuses a pattern without files and a file that is no mutant, and names it', () => {
    expect(readMutantSet([join(root, 'x*.json')])).toMatchObject({
      kind: 'error',
      message: expect.stringMatching(/^--mutants: ".*x\*\.json" matches no \.json file$/),
    });
    const bad = join(root, 'deep', 'er', 'bad.json');
    writeFileSync(bad, '{"id": 1}');
    expect(readMutantSet([bad])).toMatchObject({
      kind: 'error',
      message: expect.stringContaining('bad.json: id: no text'),
    });
  });
});
