// campaign-finding.ts - the file of a finding of a campaign: first as it was seen, then confirmed
// and shrunk, at last with its final count.
//
// The name of the file is a function of kernel and signature, so that writing it again after a kill
// replaces it, and so that the shards of one campaign name equal findings equally.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fnv1a64 } from '../../properties/hash.js';
import type { FailureGroup, ShrunkGroup } from './failure-group.js';
import { type Finding, findingJson, parseFinding } from './finding.js';
import { type Sighting, shrunkFinding } from './shrunk-finding.js';
import { writeDurably } from './workdir.js';

export interface FindingContext extends Sighting {
  /** The folder of findings. */
  readonly folder: string;
  /** As the campaign names it, and as the worker that saw the failure opened it. */
  readonly kernel: string;
  readonly uri: string;
  readonly replayCommand: (path: string, kernel: string) => string;
}

/** Of the file in the folder of findings. */
export function findingFile(kernel: string, property: string, signature: string): string {
  return `${property}-${fnv1a64(`${kernel} ${signature}`)}.json`;
}

/** As it was seen; not confirmed, not shrunk. */
export function asSeen(group: FailureGroup): ShrunkGroup {
  const { property, failure, first } = group;
  const result = { case: first.case, failure, steps: 0, tries: 0, smallest: false };
  return { group, property, result };
}

/** Returns the name of the file. */
export function writeCampaignFinding(shrunk: ShrunkGroup, context: FindingContext): string {
  const name = findingFile(context.kernel, shrunk.group.property, shrunk.group.failure.signature);
  const path = join(context.folder, name);
  const { uri } = context;
  const finding = shrunkFinding(
    shrunk,
    { ...context, kernel: uri },
    { id: name.replace(/\.json$/, ''), replay: context.replayCommand(path, uri) },
  );
  writeDurably(path, findingJson(finding));
  return name;
}

/** Sets what the journals know better than the file: how often, and when. */
export function updateCampaignFinding(
  path: string,
  seen: { readonly count: number; readonly firstAt: number; readonly lastAt: number },
  replay: string,
): Finding | null {
  let finding: Finding;
  try {
    finding = JSON.parse(readFileSync(path, 'utf8')) as Finding;
    if (parseFinding(finding).kind === 'error') return null;
  } catch {
    return null;
  }
  const updated: Finding = {
    ...finding,
    firstSeen: new Date(seen.firstAt).toISOString(),
    lastSeen: new Date(seen.lastAt).toISOString(),
    count: seen.count,
    replay,
  };
  writeDurably(path, findingJson(updated));
  return updated;
}
