// arguments.ts - values of command-line options: parsed once, here, with one sentence for each
// mistake.

import { statSync } from 'node:fs';
import os from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { properties } from '../../properties/index.js';
import { TWIN } from '../../properties/twin.js';
import { headCommit, packageRoot } from '../campaign/package-root.js';
import { parseSeed, type Seed } from '../campaign/seed.js';
import { Workdir } from '../campaign/workdir.js';

/** A mistake of the user: the sentence is printed and the exit code is 2. */
export class UsageError extends Error {}

const UNIT_SECONDS: Readonly<Record<string, number>> = {
  '': 1,
  s: 1,
  m: 60,
  h: 3600,
  d: 24 * 3600,
};
/** setTimeout takes at most 2^31 - 1 ms. */
const SECONDS_MAX = 24 * 3600;

/** "90", "90s", "5m", "8h" or "2d" in seconds. */
export function parseSeconds(option: string, text: string, max = SECONDS_MAX): number {
  const match = /^(\d+(?:\.\d+)?)([smhd]?)$/.exec(text);
  const seconds = match === null ? Number.NaN : Number(match[1]) * UNIT_SECONDS[match[2]];
  if (!(seconds > 0 && seconds <= max)) {
    const most = `at most ${max / 3600}h`;
    throw new UsageError(`${option}: "${text}" is not a time such as 90s, 5m or 8h, ${most}`);
  }
  return seconds;
}

export function parseCount(option: string, text: string, max: number): number {
  const n = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (!(n >= 1 && n <= max)) {
    throw new UsageError(`${option}: "${text}" is not an integer from 1 to ${max}`);
  }
  return n;
}

/** Without --seed: the commit of the working directory, else 1. */
export function seedFrom(text: string | undefined): Seed {
  if (text === undefined) {
    const commit = headCommit(process.cwd());
    return commit === 'unknown' ? 1 : commit;
  }
  const parsed = parseSeed(text);
  if (parsed.kind === 'error') throw new UsageError(parsed.message);
  return parsed.seed;
}

export function workersFrom(text: string | undefined): number {
  const cores = os.availableParallelism();
  return text === undefined ? cores : Math.min(cores, parseCount('--workers', text, 1024));
}

export function workdirFrom(path: string): Workdir {
  const opened = Workdir.open(path);
  if (opened.kind === 'error') throw new UsageError(opened.message);
  return opened.workdir;
}

/** A report that could not be written is refused before anything runs. */
export function reportPath(option: string, path: string | undefined): string | undefined {
  if (path === undefined) return path;
  const folder = statSync(dirname(path), { throwIfNoEntry: false });
  if (folder?.isDirectory() !== true) {
    throw new UsageError(`${option}: ${dirname(path)} is not a folder, ${path} needs one`);
  }
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) {
    throw new UsageError(`${option}: ${path} is a folder, the path of a file is required`);
  }
  return path;
}

/** Every property that may be asked for; a twin brings one of its own. */
export function propertyNames(twin: string | undefined): string[] {
  return [...properties.map(({ name }) => name), ...(twin === undefined ? [] : [TWIN])];
}

/** Names of properties, checked; null: all of them. */
export function propertiesFrom(
  names: readonly string[],
  twin: string | undefined,
): readonly string[] | null {
  const known = propertyNames(twin);
  for (const name of names) {
    if (!known.includes(name)) {
      throw new UsageError(`--property: there is no "${name}", there are ${known.join(', ')}`);
    }
  }
  return names.length === 0 ? null : names;
}

/** A command line that runs this program again as it was started, here and now. */
export function commandLine(...words: string[]): string {
  return [...program(), ...words].map(quoted).join(' ');
}

function program(): string[] {
  const script = process.argv[1] ?? '';
  if (basename(script) === 'kvproof') return ['npx', 'kvproof'];
  const archive = dirname(packageRoot()); // of native/bundle.mjs: app, node and kvproof
  if (process.execPath !== join(archive, 'node')) return ['node', relative(process.cwd(), script)];
  const launcher = relative(process.cwd(), join(archive, 'kvproof'));
  return [launcher.includes('/') ? launcher : `./${launcher}`];
}

/** The command that runs a stored case as it was run. */
export function replayCommand(
  path: string,
  kernel: string,
  { twin, checked }: { twin?: string | undefined; checked: boolean },
): string {
  const beside = twin === undefined ? [] : ['--twin', twin];
  const how = checked ? ['--checked'] : [];
  return commandLine('replay', path, '--kernel', kernel, ...beside, ...how);
}

function quoted(word: string): string {
  return /^[\w./:@%+=,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
