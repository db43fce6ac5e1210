// Tests of building mutants, on a package of one C file: the echo kernel stands in for the kernels,
// so that the C compiler of the machine is all that is needed. Libraries are made here and never
// loaded.
import { spawn, spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { packageRoot } from '../campaign/package-root.js';
import type { Edit, Mutant } from './mutant.js';
import { buildMutant, includeClosure } from './mutant-build.js';

const SOURCE = 'native/host/testdata/echo_kernel.c';
const HEADER = 'native/plugin/kernel_abi.h';
const STREAMS = 'native/plugin/stream_abi.h';

const root = mkdtempSync(join(tmpdir(), 'kvproof-build-'));
afterAll(() => rmSync(root, { recursive: true }));

const description = {
  ...{ compiler: 'cc', compilerVersion: '1' },
  flags: ['-x', 'c', '-std=c11', '-D_DEFAULT_SOURCE', '-fPIC'],
  checkedFlags: ['-DEMULATED'],
  ...{ sources: [SOURCE], linkFlags: ['-shared'], systemLibraries: ['-lm'] },
  neverEntered: {},
  libraries: ['build/Release/library.a'],
  checkedLibraries: ['build/Release/library.a'],
};

function describeBuild(change: object = {}): void {
  const path = join(root, 'build/Release/emulated_build.json');
  writeFileSync(path, JSON.stringify({ ...description, ...change }));
}

beforeEach(() => {
  rmSync(join(root, 'build'), { recursive: true, force: true });
  for (const file of [SOURCE, HEADER, STREAMS]) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    cpSync(join(packageRoot(), file), join(root, file));
  }
  mkdirSync(join(root, 'build/Release'), { recursive: true });
  // An archive without members: its first eight bytes.
  writeFileSync(join(root, 'build/Release/library.a'), '!<arch>\n');
  describeBuild();
});

function mutant(...edits: Edit[]): Mutant {
  return { ...{ id: 'm', class: 'c', story: 's', precedent: 'p' }, architecture: 'sm_90', edits };
}

const other = mutant({ file: SOURCE, find: 'out->splits = 1;', replace: 'out->splits = 2;' });
const build = (m: Mutant, checked = false) => buildMutant(m, { checked, root });

function builtPath(m: Mutant, checked = false): string {
  const built = build(m, checked);
  if (built.kind !== 'built') throw new Error(built.message);
  return built.path;
}

describe('buildMutant', () => {
  it('makes a shared library of the edited source and leaves the source alone', () => {
    const before = readFileSync(join(root, SOURCE), 'utf8');
    const library = readFileSync(
      builtPath(mutant({ file: SOURCE, find: '"echo"', replace: '"ohce"' })),
    );
    expect(library.subarray(0, 4).toString('latin1')).toBe('\x7fELF');
    expect(library.includes('ohce')).toBe(true);
    expect(readFileSync(join(root, SOURCE), 'utf8')).toBe(before);
  });

  it('compiles nothing the second time', () => {
    const path = builtPath(other);
    const { mtimeNs } = statSync(path, { bigint: true });
    expect(builtPath(other)).toBe(path);
    expect(statSync(path, { bigint: true }).mtimeNs).toBe(mtimeNs);
  });

  it('keeps apart what differs in edits, included files, flags, archive or checks', () => {
    const paths = [builtPath(other), builtPath(other, true)];
    paths.push(
      builtPath(
        mutant({ file: SOURCE, find: 'RECORD_TOKENS = 128', replace: 'RECORD_TOKENS = 64' }),
      ),
    );
    describeBuild({ flags: [...description.flags, '-O1'] });
    paths.push(builtPath(other));
    describeBuild();
    const header = readFileSync(join(root, HEADER), 'utf8');
    writeFileSync(join(root, HEADER), `${header}/* changed */\n`);
    paths.push(builtPath(other));
    writeFileSync(join(root, HEADER), header);
    // A linker script is accepted where an archive is, and this one adds nothing.
    writeFileSync(join(root, 'build/Release/second.a'), 'OUTPUT_FORMAT(elf64-x86-64)\n');
    describeBuild({ libraries: ['build/Release/second.a'] });
    paths.push(builtPath(other));
    expect(new Set(paths).size).toBe(paths.length);
  });

  it('reuses the object of a translation unit that the mutant does not touch', () => {
    const second = 'native/host/testdata/second.c';
    writeFileSync(join(root, second), 'int second_unit(void) { return 7; }\n');
    describeBuild({ sources: [SOURCE, second] });
    builtPath(other);
    builtPath(mutant({ file: second, find: '7', replace: '8' }));
    const objects = readdirSync(join(root, 'build/mutants/objects')).length;
    // Of the third library only the echo kernel, edited otherwise, is new.
    builtPath(mutant({ file: SOURCE, find: '"echo"', replace: '"ohce"' }));
    expect(readdirSync(join(root, 'build/mutants/objects')).length).toBe(objects + 1);
  });

  describe('with an object of the build', () => {
    const second = 'native/host/testdata/second.c';
    const object = 'build/kernels.dir/native/host/testdata/second.c.o';
    const text = (path: string) => readFileSync(path).toString('latin1');
    const inSecond = mutant({ file: second, find: 'as compiled', replace: 'as mutated' });

    /** The object says something else than its source, so that a library tells which it has. */
    function buildSecond(found = object): void {
      writeFileSync(
        join(root, second),
        'const char* second_unit(void) { return "as compiled"; }\n',
      );
      mkdirSync(dirname(join(root, object)), { recursive: true });
      const source = 'const char* second_unit(void) { return "as built"; }';
      const args = ['-x', 'c', '-fPIC', '-c', '-', '-o', join(root, object)];
      expect(spawnSync('gcc', args, { input: source }).status).toBe(0);
      describeBuild({ sources: [SOURCE, second], objects: [found] });
    }

    it('links it for a unit that no edit reaches, compiles one that an edit does', () => {
      buildSecond();
      expect(text(builtPath(other))).toContain('as built');
      expect(text(builtPath(inSecond))).toContain('as mutated');
      expect(text(builtPath(inSecond))).not.toContain('as built');
    });

    it('has it for the build that it is of, and for no other package', () => {
      buildSecond();
      expect(text(builtPath(other, true))).toContain('as compiled');
      buildSecond(`/elsewhere/${object}`);
      expect(text(builtPath(other))).toContain('as compiled');
    });

    it('does not believe one that is older than its source', () => {
      buildSecond();
      utimesSync(join(root, object), 1, 1);
      expect(text(builtPath(other))).toContain('as compiled');
      expect(text(builtPath(other))).not.toContain('as built');
    });

    it('compiles everything where code is to be compared', () => {
      buildSecond();
      const built = buildMutant(other, { checked: false, root, compileAll: true });
      expect(built.kind === 'built' && text(built.path)).toContain('as compiled');
    });
  });

  it('takes unedited what the architecture of the mutant never enters', () => {
    const header = 'native/host/testdata/third.h';
    writeFileSync(join(root, header), 'static inline int third(void) { return 3; }\n');
    const other = 'native/host/testdata/third.c';
    writeFileSync(
      join(root, other),
      '#include "third.h"\nint third_unit(void) { return third(); }\n',
    );
    const sources = [SOURCE, other];
    describeBuild({ sources, neverEntered: { sm_90: [other] } });
    const edit = { file: header, find: '3', replace: '4' };
    expect(build(mutant(edit))).toMatchObject({ kind: 'misfit' });
    describeBuild({ sources, neverEntered: { sm_80: [other] } });
    expect(build(mutant(edit))).toMatchObject({ kind: 'built' });
  });

  it('says that a compile error is one, with the compiler and its line', () => {
    const failed = build(mutant({ file: SOURCE, find: 'out->splits = 1;', replace: 'oops;' }));
    expect(failed.kind).toBe('build-failed');
    if (failed.kind === 'built') return;
    expect(failed.message).toMatch(/^cc ended with status 1: .*echo_kernel\.c:\d+.*oops/);
    expect(failed.message).not.toContain('\n');
    expect(failed.message).not.toContain('building-');
  });

  it('leaves no scratch folder behind, whatever happens', () => {
    build(other);
    build(mutant({ file: SOURCE, find: 'out->splits = 1;', replace: 'oops;' }));
    const left = readdirSync(join(root, 'build/mutants')).filter((n) => n.startsWith('building'));
    expect(left).toEqual([]);
  });

  it('refuses a mutant of a file that the kernels do not contain', () => {
    writeFileSync(join(root, 'native/host/testdata/unused.h'), 'int unused;\n');
    const edit = { file: 'native/host/testdata/unused.h', find: 'unused', replace: 'used' };
    const refused = build(mutant(edit));
    expect(refused).toMatchObject({ kind: 'misfit' });
  });

  it('refuses a mutant that does not fit the source', () => {
    const refused = build(mutant({ file: SOURCE, find: 'no such text', replace: '' }));
    expect(refused).toMatchObject({ kind: 'misfit' });
  });

  it('says what to do where nothing has been built', () => {
    rmSync(join(root, 'build/Release/library.a'));
    const without = build(other);
    expect(without.kind === 'no-build' && without.message).toContain('npm run build');
    rmSync(join(root, 'build'), { recursive: true });
    const nothing = build(other);
    expect(nothing.kind === 'no-build' && nothing.message).toContain('npm run build');
  });

  it('says which field of the build description is wrong', () => {
    describeBuild({ sources: 'x.c' });
    const wrong = build(other);
    expect(wrong.kind === 'no-build' && wrong.message).toContain('sources is missing');
  });

  it('says that the compiler is not there', () => {
    describeBuild({ compiler: '/no/such/compiler' });
    const absent = build(other);
    expect(absent.kind === 'no-build' && absent.message).toContain('/no/such/compiler');
  });

  it('lets two processes build the same mutant at once', async () => {
    const module = join(packageRoot(), 'dist/fuzz/kernels/mutant-build.js');
    const program = `
      import { buildMutant } from ${JSON.stringify(module)};
      const options = ${JSON.stringify({ checked: false, root })};
      const built = buildMutant(${JSON.stringify(other)}, options);
      process.stdout.write(built.kind + ' ' + built.path);`;
    const run = () =>
      new Promise<string>((done) => {
        const child = spawn(process.execPath, ['--input-type=module', '-e', program]);
        let output = '';
        child.stdout.on('data', (text) => {
          output += text;
        });
        child.on('close', () => done(output));
      });
    const [first, second] = await Promise.all([run(), run()]);
    expect(first).toMatch(/^built /);
    expect(second).toBe(first);
  });
});

describe('includeClosure', () => {
  it('follows relative includes, once each, and never leaves native/', () => {
    const files: Record<string, string> = {
      'native/kernels/a.cu': '#include "b.h"\n#include <vector>\n  # include "../simt/d.h"\n',
      'native/kernels/b.h': '#include "b.h"\n#include "missing.h"\n#include "../../secret.h"\n',
      'native/simt/d.h': '// #include "e.h"\n',
      'native/simt/e.h': '',
      'secret.h': '',
    };
    const closure = includeClosure('native/kernels/a.cu', (file) => files[file] ?? null);
    expect([...closure.keys()].sort()).toEqual([
      'native/kernels/a.cu',
      'native/kernels/b.h',
      'native/simt/d.h',
    ]);
  });
});
