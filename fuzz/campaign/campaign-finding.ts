// campaign-finding.ts - the file of a finding of a campaign: first as it was seen, then confirmed
// and shrunk, at last with its final count.
//
// The name of the file is a function of kernel and signature, so that writing it again after a kill
// replaces it, and so that the shards of one campaign name equal findings equally.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fnv1a64 } from '../../properties/hash.js';
import type { Device } from '../../properties/kernel.js';
import type { FailureGroup, ShrunkGroup } from './failure-group.js';
import { FINDING_SCHEMA, type Finding, findingJson, parseFinding } from './finding.js';
import type { Seed } from './seed.js';
import { writeDurably } from './workdir.js';

export interface FindingContext {
  /** The folder of findings. */
  readonly folder: string;
  /** As the campaign names it, and as the worker that saw the failure opened it. */
  readonly kernel: string;
  readonly uri: string;
  readonly device: Device;
  readonly commit: string;
  readonly seed: Seed;
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
  const { group, property, result } = shrunk;
  const { first, failure } = group;
  const name = findingFile(context.kernel, group.property, failure.signature);
  const path = join(context.folder, name);
  const now = new Date().toISOString();
  const finding: Finding = {
    schema: FINDING_SCHEMA,
    id: name.replace(/\.json$/, ''),
    property,
    signature: result.failure.signature,
    message: result.failure.message,
    kernel: context.uri,
    case: result.case,
    original: { hash: first.hash, origin: first.origin, seed: context.seed, index: first.index },
    shrink: { steps: result.steps, tries: result.tries, smallest: result.smallest },
    worst: result.failure.worst ?? null,
    source: result.failure.source ?? null,
    device: context.device,
    commit: context.commit,
    firstSeen: now,
    lastSeen: now,
    count: group.count,
    replay: context.replayCommand(path, context.uri),
  };
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
