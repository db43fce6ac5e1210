// generate.ts - N systematic mutants of the kernels, chosen by a seed and by nobody's taste.
//
// A kind is drawn first and then a site of that kind, so that the many constants do not crowd out
// the few statements. A candidate is built; what does not compile is dropped, and so is what
// compiles to the machine code of the clean kernels or of a mutant that is there already: such a
// one is equivalent, or the same bug twice.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../campaign/package-root.js';
import { type Seed, streamOf } from '../campaign/seed.js';
import type { Mutant } from '../kernels/mutant.js';
import { emulatedSources } from '../kernels/mutant-build.js';
import { codeInChild } from './build.js';
import { MUTATION_KINDS, type MutationSite, mutationSites } from './mutation-site.js';

export interface GenerateOptions {
  readonly count: number;
  readonly seed: Seed;
  /** Where the mutant files are written. */
  readonly folder: string;
  readonly buildDeadlineMs: number;
  /** Builds at a time. */
  readonly workers: number;
  readonly interrupt: AbortSignal;
  onTried(event: { made: number; tried: number; what: string }): void;
}

export interface Generated {
  readonly paths: readonly string[];
  readonly tried: number;
  readonly notCompiling: number;
  /** Same machine code as the clean kernels, or as another one of these mutants. */
  readonly sameCode: number;
}

/** Host code of other devices and the plain kernels: nothing that runs would change. */
const EXCLUDED = /plain|kernels_test|cuda|platform|device/;
/** Streams of draws; a campaign with the same seed uses others. */
const STREAM = 1 << 28;
/** Candidates for each mutant asked for; far more than ever failed in a row. */
const TRIES = 40;

export async function generateMutants(options: GenerateOptions): Promise<Generated> {
  const { count, seed, folder, buildDeadlineMs, interrupt } = options;
  mkdirSync(folder, { recursive: true });
  const how = { deadlineMs: buildDeadlineMs, interrupt };
  const sites = allSites();
  const paths: string[] = [];
  const seen = new Set<string>();
  const clean = await codeInChild(null, how);
  if (clean.kind !== 'code') throw new Error(textOf(clean));
  const codes = new Set([clean.hash]);
  const sums = { tried: 0, notCompiling: 0, sameCode: 0 };
  while (paths.length < count && sums.tried < count * TRIES && !interrupt.aborted) {
    // Several at once, taken in order, so that what is made does not depend on the workers.
    const batch: MutationSite[] = [];
    const size = Math.min(options.workers, count - paths.length);
    for (; batch.length < size && sums.tried < count * TRIES; sums.tried++) {
      const site = draw(sites, seed, sums.tried);
      const key = JSON.stringify([site.file, site.find, site.replace]);
      if (!seen.has(key)) batch.push(site);
      seen.add(key);
    }
    const files = batch.map((site) => ({ site, ...written(site, seed, folder) }));
    const built = await Promise.all(files.map(({ path }) => codeInChild(path, how)));
    for (const [i, { site, path }] of files.entries()) {
      const reply = built[i];
      if (reply.kind === 'no-build') throw new Error(reply.message);
      const isNew = reply.kind === 'code' && !codes.has(reply.hash);
      if (reply.kind === 'code') codes.add(reply.hash);
      if (isNew) paths.push(path);
      else rmSync(path);
      if (reply.kind !== 'code') sums.notCompiling += 1;
      else if (!isNew) sums.sameCode += 1;
      const what = isNew ? site.change : reply.kind === 'code' ? 'same machine code' : reply.kind;
      options.onTried({ made: paths.length, tried: sums.tried, what: `${site.file}: ${what}` });
    }
  }
  return { paths, ...sums };
}

function textOf(reply: object): string {
  return 'message' in reply ? String(reply.message) : 'the clean kernels were not built';
}

function written(site: MutationSite, seed: Seed, folder: string): { path: string } {
  const mutant = mutantOf(site, seed);
  const path = join(folder, `${mutant.id}.json`);
  writeFileSync(path, `${JSON.stringify(mutant, null, 2)}\n`);
  return { path };
}

/** Sites by kind, in the order of the files. */
function allSites(): Map<string, MutationSite[]> {
  const sites = new Map<string, MutationSite[]>(MUTATION_KINDS.map((kind) => [kind, []]));
  for (const file of emulatedSources()) {
    if (!file.startsWith('native/kernels/') || EXCLUDED.test(file)) continue;
    const path = join(packageRoot(), file);
    if (!existsSync(path)) continue;
    for (const site of mutationSites(file, readFileSync(path, 'utf8'))) {
      sites.get(site.kind)?.push(site);
    }
  }
  return sites;
}

function draw(sites: Map<string, MutationSite[]>, seed: Seed, index: number): MutationSite {
  const random = streamOf(seed, STREAM + index);
  const kind = MUTATION_KINDS[random.nextInt(0, MUTATION_KINDS.length - 1)];
  const own = sites.get(kind) as MutationSite[];
  return own[random.nextInt(0, own.length - 1)];
}

function mutantOf({ kind, file, line, find, replace, change }: MutationSite, seed: Seed): Mutant {
  const name = createHash('sha256').update(`${file}\0${find}\0${replace}`).digest('hex');
  return {
    id: `systematic-${String(seed).slice(0, 12)}-${name.slice(0, 8)}`,
    class: 'systematic',
    story: `${kind} at line ${line} of ${file.slice(file.lastIndexOf('/') + 1)}: ${change}`,
    precedent: 'none known',
    edits: [{ file, find, replace }],
  } as unknown as Mutant;
}
