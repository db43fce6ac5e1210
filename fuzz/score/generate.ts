// generate.ts - N systematic mutants of the kernels, chosen by a seed and by nobody's taste.
//
// A kind is drawn first and then a site of that kind, so that the many constants do not crowd out
// the few statements. A candidate is built; what does not compile is dropped, and so is what
// compiles to the machine code of the clean kernels or of a mutant that is there already: such a
// one is equivalent, or the same bug twice.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../campaign/package-root.js';
import { type Seed, streamOf } from '../campaign/seed.js';
import type { Mutant } from '../kernels/mutant.js';
import { emulatedSources } from '../kernels/mutant-build.js';
import { buildInChild, codeInChild } from './build.js';
import { MUTATION_KINDS, type MutationSite, mutationSites } from './mutation-site.js';

export interface GenerateOptions {
  readonly count: number;
  readonly seed: Seed;
  /** Where the mutant files are written. */
  readonly folder: string;
  readonly buildDeadlineMs: number;
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
const EXCLUDED = /decode_plain|kernels_test|cuda|platform|device/;
/** Streams of draws; a campaign with the same seed uses others. */
const STREAM = 1 << 28;
/** Candidates for each mutant asked for; far more than ever failed in a row. */
const TRIES = 40;

export async function generateMutants(options: GenerateOptions): Promise<Generated> {
  const { count, seed, folder, buildDeadlineMs, interrupt } = options;
  mkdirSync(folder, { recursive: true });
  const sites = allSites();
  const paths: string[] = [];
  const seen = new Set<string>();
  const codes = new Set([await codeInChild(null, { deadlineMs: buildDeadlineMs, interrupt })]);
  const sums = { tried: 0, notCompiling: 0, sameCode: 0 };
  while (paths.length < count && sums.tried < count * TRIES && !interrupt.aborted) {
    const site = draw(sites, seed, sums.tried++);
    const key = JSON.stringify([site.file, site.find, site.replace]);
    if (seen.has(key)) continue;
    seen.add(key);
    const mutant = mutantOf(site, seed, paths.length + 1);
    const path = join(folder, `${mutant.id}.json`);
    writeFileSync(path, `${JSON.stringify(mutant, null, 2)}\n`);
    const tried = (what: string) => {
      options.onTried({ made: paths.length, tried: sums.tried, what: `${site.file}: ${what}` });
    };
    const how = { deadlineMs: buildDeadlineMs, interrupt };
    const built = await buildInChild(path, { ...how, checked: false });
    if (built.kind === 'no-build') throw new Error(built.message);
    if (built.kind !== 'built') {
      sums.notCompiling += 1;
      tried('does not compile');
      continue;
    }
    const code = await codeInChild(path, how);
    if (codes.has(code)) {
      sums.sameCode += 1;
      tried('same machine code');
      continue;
    }
    codes.add(code);
    paths.push(path);
    tried(site.change);
  }
  return { paths, ...sums };
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

function mutantOf(
  { kind, file, line, find, replace, change }: MutationSite,
  seed: Seed,
  number: number,
): Mutant {
  const name = createHash('sha256').update(`${file}\0${find}\0${replace}`).digest('hex');
  return {
    id: `systematic-${String(seed).slice(0, 12)}-${number}-${name.slice(0, 6)}`,
    class: 'systematic',
    story: `${kind} at line ${line} of ${file.slice(file.lastIndexOf('/') + 1)}: ${change}`,
    precedent: 'none known',
    edits: [{ file, find, replace }],
  } as unknown as Mutant;
}
