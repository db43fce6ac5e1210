// Tests of mutant files: what is accepted, how edits apply, and that every mutant of the project
// still fits the sources it was written for.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../campaign/package-root.js';
import { applyEdits, listMutants, parseMutant, readMutant } from './mutant.js';

const valid = {
  id: 'v-zero-dropped',
  class: 'quantize',
  story: 'The zero point of V is left out.',
  precedent: 'somewhere',
  edits: [{ file: 'native/kernels/x.cu', find: 'a', replace: 'b' }],
};

function message(value: unknown): string {
  const parsed = parseMutant(typeof value === 'string' ? value : JSON.stringify(value));
  return parsed.kind === 'error' ? parsed.message : 'accepted';
}

describe('parseMutant', () => {
  it('reads a mutant and gives it the default architecture', () => {
    const parsed = parseMutant(JSON.stringify(valid));
    expect(parsed).toEqual({ kind: 'mutant', mutant: { ...valid, architecture: 'sm_90' } });
  });

  it.each([
    ['not JSON', 'not JSON'],
    ['[]', 'not an object'],
    ['null', 'not an object'],
  ])('refuses %s', (text, why) => {
    expect(message(text)).toBe(why);
  });

  it.each([
    [{ ...valid, id: undefined }, 'id: no text'],
    [{ ...valid, id: '../up' }, 'id: "../up" is not made of'],
    [{ ...valid, story: '' }, 'story: no text'],
    [{ ...valid, precedent: 7 }, 'precedent: no text'],
    [{ ...valid, equivalent: true }, 'equivalent: no text'],
    [{ ...valid, architecture: 'sm_70' }, 'architecture: "sm_70" is not one of'],
    [{ ...valid, note: 'x' }, 'note: not a field of a mutant'],
    [{ ...valid, edits: [] }, 'edits: a list of 1 to 64 is required'],
    [{ ...valid, edits: [{ file: 'native/x.cu', find: 'a' }] }, 'edits[0]: file, find and replace'],
    [edit({ find: '' }), 'edits[0].find: no text'],
    [edit({ replace: 'a' }), 'edits[0]: find and replace are the same'],
  ])('refuses %j', (value, why) => {
    expect(message(value).startsWith(why)).toBe(true);
  });

  it.each([
    '/etc/passwd',
    'native/../package.json',
    'native',
    'native/',
    'native//x.cu',
    'native/./x.cu',
    'fuzz/cli.ts',
    'native/.hidden',
    'native/a\0b',
    'native\\x.cu',
  ])('confines edits below native/: %j is refused', (file) => {
    expect(message(edit({ file }))).toContain('is not a path below native/');
  });
});

function edit(change: Partial<{ file: string; find: string; replace: string }>) {
  return { ...valid, edits: [{ ...valid.edits[0], ...change }] };
}

describe('applyEdits', () => {
  const sources: Record<string, string> = {
    'native/a.h': 'int x = 1;\nint y = 1;\n',
    'native/b.h': 'aaa',
  };
  const read = (file: string) => sources[file] ?? null;
  const apply = (...edits: [file: string, find: string, replace: string][]) =>
    applyEdits(
      edits.map(([file, find, replace]) => ({ file, find, replace })),
      read,
    );

  it('replaces the one occurrence and leaves the rest', () => {
    const edited = apply(['native/a.h', 'x = 1', 'x = 2']);
    expect(edited).toEqual({
      kind: 'edited',
      files: new Map([['native/a.h', 'int x = 2;\nint y = 1;\n']]),
    });
  });

  it('takes the replacement literally', () => {
    const edited = apply(['native/a.h', 'x = 1', '$&$1']);
    expect(edited.kind === 'edited' && edited.files.get('native/a.h')).toContain('int $&$1;');
  });

  it('applies edits of one file in order', () => {
    const edited = apply(['native/a.h', 'x = 1', 'x = 2'], ['native/a.h', 'x = 2', 'x = 3']);
    expect(edited.kind === 'edited' && edited.files.get('native/a.h')).toContain('int x = 3;');
  });

  it('says how often the text was found when it was not once', () => {
    const none = apply(['native/a.h', 'z', 'w']);
    const two = apply(['native/a.h', '= 1', '= 2']);
    expect(none.kind === 'error' && none.message).toContain('"z" occurs 0 times in native/a.h');
    expect(two.kind === 'error' && two.message).toContain('"= 1" occurs 2 times in native/a.h');
  });

  it('counts overlapping occurrences', () => {
    const overlapping = apply(['native/b.h', 'aa', 'b']);
    expect(overlapping.kind === 'error' && overlapping.message).toContain('occurs 2 times');
  });

  it('says which file does not exist', () => {
    const missing = apply(['native/c.h', 'a', 'b']);
    expect(missing.kind === 'error' && missing.message).toContain('native/c.h does not exist');
  });
});

describe('readMutant', () => {
  const folder = mkdtempSync(join(tmpdir(), 'kvproof-mutant-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  it('refuses a file whose name is not its id', () => {
    const path = join(folder, 'other.json');
    writeFileSync(path, JSON.stringify(valid));
    const read = readMutant(path);
    expect(read.kind === 'error' && read.message).toContain('id "v-zero-dropped" is not "other"');
  });

  it('says that a file cannot be read', () => {
    const read = readMutant(join(folder, 'absent.json'));
    expect(read.kind === 'error' && read.message).toContain('cannot be read (ENOENT)');
  });
});

describe('the mutants of the project', () => {
  const listed = listMutants();

  it('are there', () => {
    expect(listed.length).toBeGreaterThanOrEqual(8);
  });

  it.each(listed)('$id is well-formed and applies to the sources', (entry) => {
    if (entry.kind === 'error') throw new Error(entry.message);
    const edited = applyEdits(entry.mutant.edits, (file) => {
      const path = join(packageRoot(), file);
      return existsSync(path) ? readFileSync(path, 'utf8') : null;
    });
    expect(edited.kind === 'error' ? edited.message : 'applies').toBe('applies');
  });

  it('have a class that native/mutants/README.md explains', () => {
    const readme = readFileSync(join(packageRoot(), 'native/mutants/README.md'), 'utf8');
    const classes = listed.flatMap((m) => (m.kind === 'mutant' ? [m.mutant.class] : []));
    const unexplained = classes.filter((name) => !readme.includes(`| \`${name}\` |`));
    expect(unexplained).toEqual([]);
  });
});
