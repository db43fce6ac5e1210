// merge-campaigns.ts - joins the shards of one campaign into a folder that is read like any other.
//
// Journals are copied as they are (their lines say which case they are of, so nothing is counted
// twice), and of each finding the file of the shard that tells it by the earliest case is kept.
// Since a shard shrinks from the case alone and confirms in the order of the plan, the joined
// campaign equals the unsplit one, finding for finding, unless a time limit cut shrinking short.

import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { updateCampaignFinding } from './campaign-finding.js';
import {
  findingsFolder,
  holdsCampaign,
  journalFolder,
  readCorpus,
  writeCorpus,
  writeManifest,
} from './campaign-folder.js';
import { CampaignStatistics, findingKey, type SeenFinding } from './campaign-statistics.js';
import { readCaseFile } from './case-file.js';
import type { Manifest } from './manifest.js';
import { type ReadCampaign, readCampaign } from './read-campaign.js';
import { reasonOf } from './workdir.js';

export interface MergedCampaign {
  readonly kind: 'merged';
  readonly manifest: Manifest;
  readonly statistics: CampaignStatistics;
  readonly problems: readonly string[];
}

export type MergeResult = MergedCampaign | { kind: 'error'; exitCode: 2 | 3; message: string };

export function mergeCampaigns(
  folders: readonly string[],
  target: string,
  replayOf: (path: string, uri: string, manifest: Manifest) => string,
): MergeResult {
  const wrong = (message: string): MergeResult => ({ kind: 'error', exitCode: 2, message });
  if (holdsCampaign(target)) return wrong(`${target}: holds a campaign already, name a new folder`);
  const statistics = new CampaignStatistics();
  const shards: { all: ReadCampaign; own: CampaignStatistics }[] = [];
  for (const folder of folders) {
    const own = readCampaign(folder);
    if (own.kind === 'error') return wrong(own.message);
    const first = shards[0]?.all.manifest ?? own.manifest;
    if (own.manifest.id !== first.id) return wrong(differenceOf(folder, own.manifest, first));
    const all = readCampaign(folder, statistics);
    if (all.kind === 'error') return wrong(all.message);
    shards.push({ all, own: own.statistics });
  }
  const names = [...new Set(shards.flatMap(({ all }) => all.manifest.shard.split(',')))].sort();
  const manifest = { ...shards[0].all.manifest, shard: names.join(',') };
  try {
    copyJournals(
      shards.map(({ all }) => all),
      target,
    );
    const corpus = readCorpus(folders[0]);
    if (corpus.kind === 'stored') writeCorpus(target, corpus.stored);
    for (const finding of statistics.findings.values()) {
      copyFinding(finding, shards, target, (path, uri) => replayOf(path, uri, manifest));
    }
    writeManifest(target, manifest); // last: a folder with a manifest is whole
  } catch (error) {
    const message = `${target}: cannot be written (${reasonOf(error)})`;
    return { kind: 'error', exitCode: 3, message };
  }
  const problems = [...shards.flatMap(({ all }) => all.problems), ...missingShards(names)];
  return { kind: 'merged', manifest, statistics, problems };
}

function differenceOf(folder: string, own: Manifest, first: Manifest): string {
  const text = ({ seed, kernels }: Manifest) =>
    `seed ${seed}, ${kernels.map(({ name, fingerprint }) => `${name} ${fingerprint}`).join(', ')}`;
  return `${folder}: belongs to another campaign (${text(own)}) than the first (${text(first)})`;
}

function copyJournals(shards: readonly ReadCampaign[], target: string): void {
  const folder = journalFolder(target);
  mkdirSync(folder, { recursive: true });
  for (const [number, { segments }] of shards.entries()) {
    for (const { path, header } of segments) {
      // Two machines may have named a session equally.
      if (header !== null) copyFileSync(path, join(folder, `s${number + 1}x${basename(path)}`));
    }
  }
}

function copyFinding(
  finding: SeenFinding,
  shards: readonly { all: ReadCampaign; own: CampaignStatistics }[],
  target: string,
  replayOf: (path: string, uri: string) => string,
): void {
  const { file, toldBy } = finding;
  if (file === null) return;
  const key = findingKey(finding.kernel, finding.signature);
  const teller = shards.find(({ own }) => {
    const seen = own.findings.get(key);
    return seen?.toldBy === toldBy && seen.file === file;
  });
  if (teller === undefined) return;
  const from = join(findingsFolder(teller.all.folder), file);
  if (!existsSync(from) || readCaseFile(from).kind === 'error') return;
  const to = join(findingsFolder(target), file);
  mkdirSync(findingsFolder(target), { recursive: true });
  copyFileSync(from, to);
  updateCampaignFinding(to, finding, replayOf(to, finding.uri));
}

/** Shards say how many they are: "2/4". */
function missingShards(names: readonly string[]): string[] {
  const count = Number(names[0]?.split('/')[1]);
  if (!(count <= 100_000)) return [];
  const missing: string[] = [];
  for (let i = 1; i <= count; i++) if (!names.includes(`${i}/${count}`)) missing.push(String(i));
  if (missing.length === 0) return [];
  const listed = missing.slice(0, 10).join(', ') + (missing.length > 10 ? ', ...' : '');
  return [`of ${count} shards these are missing: ${listed}`];
}
