// Tests of kernel URIs: every documented form, and one sentence for everything else.
import { resolve } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openKernel } from './open.js';
import { parseUri } from './uri.js';

describe('parseUri', () => {
  it('reads every documented form', () => {
    expect(parseUri('sim:sm_80')).toEqual({ kind: 'sim', architecture: 'sm_80' });
    expect(parseUri('sim:sm_89')).toEqual({ kind: 'sim', architecture: 'sm_89' });
    expect(parseUri('sim:sm_90')).toEqual({ kind: 'sim', architecture: 'sm_90' });
    expect(parseUri('cuda:0')).toEqual({ kind: 'cuda', ordinal: 0 });
    expect(parseUri('cuda:15')).toEqual({ kind: 'cuda', ordinal: 15 });
    expect(parseUri('lib:/opt/k.so')).toEqual({ kind: 'lib', path: '/opt/k.so' });
    expect(parseUri('ref:')).toEqual({ kind: 'ref' });
    expect(parseUri('mutant:v-zero-dropped')).toEqual({ kind: 'mutant', id: 'v-zero-dropped' });
  });

  it('makes relative paths absolute, colons in them included', () => {
    expect(parseUri('lib:a:b/k.so')).toEqual({ kind: 'lib', path: resolve('a:b/k.so') });
    const file = { kind: 'mutant-file', path: resolve('bugs/mine.json') };
    expect(parseUri('mutant:bugs/mine.json')).toEqual(file);
  });

  it.each([
    ['', 'not a kernel URI'],
    ['sim', 'not a kernel URI'],
    ['cuda:', 'a device number is required'],
    ['cuda:-1', 'a device number is required'],
    ['cuda:01', 'a device number is required'],
    ['cuda:4294967296', 'a device number is required'],
    ['cuda:0x1', 'a device number is required'],
    ['sim:sm_70', 'sm_80, sm_89, sm_90 are emulated'],
    ['sim:', 'sm_80, sm_89, sm_90 are emulated'],
    ['lib:', 'the path of a shared library is required'],
    ['ref:x', 'nothing may follow'],
    ['mutant:../x', 'an id such as'],
    ['mutant:', 'an id such as'],
    ['exec: ', 'the command of a kernel in its own process is required'],
    ['http://x', 'is not a kind of kernel'],
    ['lib:a\0b', 'not a kernel URI'],
    ['constructor:x', 'is not a kind of kernel'],
  ])('refuses %j with one sentence', (uri, why) => {
    const parsed = parseUri(uri);
    expect(parsed.kind).toBe('error');
    if (parsed.kind !== 'error') return;
    expect(parsed.message).toContain(why);
    expect(parsed.message).not.toContain('\n');
  });

  it('answers any text without throwing', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((s) => `mutant:${s}`),
        ),
        (uri) => {
          const parsed = parseUri(uri);
          // A name never leads out of native/mutants; only an explicit .json path does.
          return parsed.kind !== 'mutant' || !/[./\\]/.test(parsed.id);
        },
      ),
    );
  });
});

describe('openKernel without native code', () => {
  it('opens the reference', () => {
    const opened = openKernel('ref:', { checked: false });
    expect(opened.kind).toBe('kernel');
  });

  it('ends with code 2 for a URI that means nothing and lists what does', () => {
    const opened = openKernel('http:run.sh', { checked: false });
    expect(opened).toMatchObject({ kind: 'error', exitCode: 2 });
    if (opened.kind === 'error') expect(opened.message).toContain('sim:sm_90');
  });

  it('ends with code 2 when a kernel that is not emulated is to be checked', () => {
    for (const uri of ['ref:', 'cuda:0', 'lib:/k.so']) {
      const opened = openKernel(uri, { checked: true });
      expect(opened).toMatchObject({ kind: 'error', exitCode: 2 });
    }
  });

  it('ends with code 2 for a mutant that does not exist', () => {
    const opened = openKernel('mutant:no-such-mutant', { checked: false });
    expect(opened).toMatchObject({ kind: 'error', exitCode: 2 });
  });
});
