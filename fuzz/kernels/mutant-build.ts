// mutant-build.ts - a mutant to a kernel library: compiles the edited sources and links them with
// the emulator that is already built.
//
// The build writes build/Release/emulated_build.json: compiler, flags, the kernels' translation
// units with the objects made of them, and the emulator's static libraries. A translation unit that
// an edit reaches is compiled from a copy of itself and of what it includes, and kept under the
// hash of all that goes into it; of the others the build's own objects are linked. So a mutant
// compiles only what it changes, and a second request compiles nothing. Kernels that
// the mutant's architecture never launches are taken unedited, last on the linker's line, so that
// an inline function which both have is the edited one. Several processes may build at once: each
// works in a folder of its own and moves the result into place with one rename.
//   build/mutants/objects/<hash>.o      build/mutants/<hash>/kernel.so

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, posix, resolve, sep } from 'node:path';
import { packageRoot } from '../campaign/package-root.js';
import { BUILD_FOLDER, BUILD_REMEDY } from './built-library.js';
import { applyEdits, type Mutant } from './mutant.js';

export const BUILD_DESCRIPTION = 'emulated_build.json';

/** emulated_build.json. Paths are relative to the package, or absolute. */
interface BuildDescription {
  readonly compiler: string;
  readonly compilerVersion: string;
  /** For each translation unit of the kernels. */
  readonly flags: readonly string[];
  /** Added for the checked build. */
  readonly checkedFlags: readonly string[];
  readonly sources: readonly string[];
  /** By architecture: translation units whose kernels no launch of the clean kernels reaches. */
  readonly neverEntered: Readonly<Record<string, readonly string[]>>;
  /** <folder>/<source>.o of units of the plain and of the checked build; absent: none is kept. */
  readonly objects?: readonly string[];
  readonly checkedObjects?: readonly string[];
  readonly linkFlags: readonly string[];
  readonly libraries: readonly string[];
  readonly checkedLibraries: readonly string[];
  readonly systemLibraries: readonly string[];
}

const LIST_FIELDS = [
  'flags',
  'checkedFlags',
  'sources',
  'linkFlags',
  'libraries',
  'checkedLibraries',
  'systemLibraries',
];
const OPTIONAL_FIELDS = ['objects', 'checkedObjects'];

export type BuildResult =
  | { kind: 'built'; path: string }
  /** The mutant does not fit the sources. */
  | { kind: 'misfit'; message: string }
  /** It fits, and the compiler or the linker refuses it. */
  | { kind: 'build-failed'; message: string }
  /** The emulator has not been built here. */
  | { kind: 'no-build'; message: string };

type Failure = Exclude<BuildResult, { kind: 'built' }>;

/** Nothing in a library that its functions do not need: equal bytes, equal programs. */
const MUTANT_FLAGS = ['-ffunction-sections', '-fdata-sections'];
const MUTANT_LINK_FLAGS = ['-Wl,--gc-sections', '-Wl,--build-id=none'];

/** One compilation or link; far above the 20 s that the slowest takes. */
const TOOL_DEADLINE_MS = 240_000;

export interface BuildOptions {
  readonly checked: boolean;
  /** The package, or for tests another folder of the same layout. */
  readonly root?: string;
  /** No object of the build: equal flags for every unit of every mutant, to compare code. */
  readonly compileAll?: boolean;
}

export function buildMutant(mutant: Mutant, options: BuildOptions): BuildResult {
  const root = options.root ?? packageRoot();
  const description = readDescription(root);
  if ('kind' in description) return description;
  const readSource = (file: string): string | null => {
    const path = join(root, file);
    return existsSync(path) ? readFileSync(path, 'utf8') : null;
  };
  const edited = applyEdits(mutant.edits, readSource);
  if (edited.kind === 'error') return { kind: 'misfit', message: edited.message };
  const read = (file: string) => edited.files.get(file) ?? readSource(file);

  const idle = new Set(description.neverEntered[mutant.architecture] ?? []);
  const entered = description.sources.filter((source) => !idle.has(source));
  const units: Unit[] = entered.map((source) => ({ source, files: includeClosure(source, read) }));
  for (const file of edited.files.keys()) {
    if (!units.some(({ files }) => files.has(file))) {
      const of = `the kernels that an emulated ${mutant.architecture} launches`;
      const message = `${file} is not part of ${of}, so editing it changes nothing`;
      return { kind: 'misfit', message };
    }
  }
  for (const source of idle) units.push({ source, files: includeClosure(source, readSource) });
  const build = new Build(root, description, options.checked);
  const isEdited = ({ files }: Unit) => [...files.keys()].some((file) => edited.files.has(file));
  const objects = units.map((unit, i) => {
    const reaches = i < entered.length && isEdited(unit);
    return reaches || options.compileAll ? null : build.ownObject(unit);
  });
  return build.inScratchFolder(() => build.library(units, objects));
}

/** Every file of the package that the emulated kernels are compiled from, sorted. */
export function emulatedSources(root = packageRoot()): string[] {
  const description = readDescription(root);
  if ('kind' in description) throw new Error(description.message);
  const read = (file: string): string | null => {
    const path = join(root, file);
    return existsSync(path) ? readFileSync(path, 'utf8') : null;
  };
  const files = description.sources.flatMap((source) => [...includeClosure(source, read).keys()]);
  return [...new Set(files)].sort();
}

/**
 * A hash of the machine code and the data that a built library has, without what only debuggers
 * read: equal hashes, equal programs. Functions that nothing calls are not in it.
 */
export function codeHash(library: string): string {
  // A file: written to a pipe, which has no positions, a library comes out empty.
  const folder = mkdtempSync(join(tmpdir(), 'kvproof-code-'));
  try {
    const path = join(folder, 'kernel.so');
    const tool = spawnSync('strip', ['--strip-all', '-o', path, library]);
    return hashOf([readFileSync(tool.status === 0 ? path : library)]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function readDescription(root: string): BuildDescription | Failure {
  const path = join(root, BUILD_FOLDER, BUILD_DESCRIPTION);
  if (!existsSync(path)) {
    return { kind: 'no-build', message: `${path}: not found, ${BUILD_REMEDY}` };
  }
  const description = JSON.parse(readFileSync(path, 'utf8'));
  const isText = (x: unknown) => typeof x === 'string';
  const isList = (x: unknown) => Array.isArray(x) && x.every(isText);
  const others = ['compiler', 'compilerVersion', 'neverEntered'];
  const broken = [...LIST_FIELDS, ...OPTIONAL_FIELDS, ...others].find((key) => {
    const value: unknown = description[key];
    if (key.startsWith('compiler')) return !isText(value);
    if (OPTIONAL_FIELDS.includes(key) && value === undefined) return false;
    if (key !== 'neverEntered') return !isList(value);
    return typeof value !== 'object' || value === null || !Object.values(value).every(isList);
  });
  if (broken === undefined) return description as BuildDescription;
  const message = `${path}: ${broken} is missing or of another type, ${BUILD_REMEDY}`;
  return { kind: 'no-build', message };
}

/** The files, with their texts, that compiling `source` reads from the package, itself included. */
export function includeClosure(
  source: string,
  read: (file: string) => string | null,
): Map<string, string> {
  const files = new Map<string, string>();
  const pending = [source];
  for (let file = pending.pop(); file !== undefined; file = pending.pop()) {
    // Nothing outside native/ belongs to the kernels, whatever an edit includes.
    const text = files.has(file) || !file.startsWith('native/') ? null : read(file);
    if (text === null) continue;
    files.set(file, text);
    for (const [, name] of text.matchAll(/^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)"/gm)) {
      pending.push(posix.join(posix.dirname(file), name));
    }
  }
  return files;
}

interface Unit {
  readonly source: string;
  /** Path relative to the package to text. */
  readonly files: ReadonlyMap<string, string>;
}

/** Marks a build that ended early; caught in inScratchFolder. */
class BuildStopped extends Error {
  constructor(readonly failure: Failure) {
    super(failure.message);
  }
}

class Build {
  private readonly folder: string;
  private scratch = '';

  constructor(
    private readonly root: string,
    private readonly description: BuildDescription,
    private readonly checked: boolean,
  ) {
    this.folder = join(root, 'build', 'mutants');
  }

  inScratchFolder(work: () => BuildResult): BuildResult {
    mkdirSync(join(this.folder, 'objects'), { recursive: true });
    this.scratch = mkdtempSync(join(this.folder, 'building-'));
    try {
      return work();
    } catch (error) {
      if (error instanceof BuildStopped) return error.failure;
      throw error;
    } finally {
      rmSync(this.scratch, { recursive: true, force: true });
    }
  }

  /**
   * What the build made of a unit without edits, or null: not there, or older than a file that it
   * was made of. Objects of another package are not believed, wherever the description came from.
   */
  ownObject({ source, files }: Unit): string | null {
    const { objects = [], checkedObjects = [] } = this.description;
    const found = (this.checked ? checkedObjects : objects)
      .map((path) => resolve(this.root, path))
      .find((path) => path.endsWith(`${sep}${source}.o`));
    if (found === undefined || !found.startsWith(`${resolve(this.root)}${sep}`)) return null;
    const made = statSync(found, { throwIfNoEntry: false });
    if (made === undefined) return null;
    const times = [...files.keys()].map((file) => statSync(join(this.root, file)).mtimeMs);
    return times.every((time) => time <= made.mtimeMs) ? found : null;
  }

  /** own: for each unit the object to link as it is, or null. */
  library(units: readonly Unit[], own: readonly (string | null)[]): BuildResult {
    const { libraries, checkedLibraries, linkFlags, systemLibraries } = this.description;
    const archives = (this.checked ? checkedLibraries : libraries).map((path) =>
      resolve(this.root, path),
    );
    const missing = archives.find((path) => !existsSync(path));
    if (missing !== undefined) {
      return { kind: 'no-build', message: `${missing}: not found, ${BUILD_REMEDY}` };
    }
    const objectHashes = units.map((unit, i) => {
      const made = own[i];
      return made === null ? this.objectHash(unit) : hashOf([readFileSync(made)]);
    });
    const hash = hashOf([
      ...objectHashes,
      JSON.stringify([linkFlags, MUTANT_LINK_FLAGS, systemLibraries]),
      ...archives.map((path) => readFileSync(path)),
    ]);
    const path = join(this.folder, hash, 'kernel.so');
    if (existsSync(path)) return { kind: 'built', path };
    const objects = units.map((unit, i) => own[i] ?? this.object(unit, objectHashes[i]));
    const linked = join(this.scratch, 'kernel.so');
    const inputs = [...objects, ...archives, ...systemLibraries];
    this.run([...linkFlags, ...MUTANT_LINK_FLAGS, ...inputs, '-o', linked]);
    mkdirSync(dirname(path), { recursive: true });
    renameSync(linked, path);
    return { kind: 'built', path };
  }

  /**
   * Host code (.cpp) is never instrumented: the checks watch kernels, and only their runtime is
   * linked.
   */
  private flags(source: string): readonly string[] {
    const { flags, checkedFlags } = this.description;
    const checks = this.checked && !source.endsWith('.cpp') ? checkedFlags : [];
    return [...flags, ...MUTANT_FLAGS, ...checks];
  }

  private objectHash({ source, files }: Unit): string {
    const { compiler, compilerVersion } = this.description;
    const sorted = [...files].sort(([a], [b]) => (a < b ? -1 : 1));
    return hashOf([
      JSON.stringify([compiler, compilerVersion, this.flags(source), source]),
      JSON.stringify(sorted),
    ]);
  }

  private object({ source, files }: Unit, hash: string): string {
    const path = join(this.folder, 'objects', `${hash}.o`);
    if (existsSync(path)) return path;
    const copy = join(this.scratch, hash);
    for (const [file, text] of files) {
      mkdirSync(dirname(join(copy, file)), { recursive: true });
      writeFileSync(join(copy, file), text);
    }
    // Reports of the emulator name files as in the package, not as in this copy.
    const prefix = `-ffile-prefix-map=${copy}/=`;
    const compiled = `${copy}.o`;
    this.run([...this.flags(source), prefix, '-c', join(copy, source), '-o', compiled]);
    renameSync(compiled, path);
    return path;
  }

  private run(args: readonly string[]): void {
    const { compiler } = this.description;
    const tool = spawnSync(compiler, args, { encoding: 'utf8', timeout: TOOL_DEADLINE_MS });
    if (tool.status === 0) return;
    if (tool.error !== undefined && tool.signal === null) {
      const message = `${compiler}: cannot be started (${tool.error.message})`;
      throw new BuildStopped({ kind: 'no-build', message });
    }
    const lines = tool.stderr.split('\n').map((line) => line.replaceAll(`${this.scratch}/`, ''));
    const line = lines.find((text) => /error|undefined reference/.test(text)) ?? lines[0];
    const how = tool.signal === null ? `status ${tool.status}` : tool.signal;
    const message = `${compiler} ended with ${how}: ${line}`;
    throw new BuildStopped({ kind: 'build-failed', message });
  }
}

function hashOf(parts: readonly (string | Buffer)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest('hex').slice(0, 32);
}
