// queue-campaign.ts - a campaign whose shards come from a queue: runs the ones that fall to this
// machine, and in the end has the whole, joined from what all machines have done.
//
//   DIR/shards/I/   the folder of shard I: run here, or unpacked from the queue
//   DIR/merged/     all of them joined (merge-campaigns.ts)

import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fnv1a64 } from '../../properties/hash.js';
import { journalFolder } from './campaign-folder.js';
import { CampaignStatistics } from './campaign-statistics.js';
import { runFuzz } from './fuzz-campaign.js';
import type { FuzzOptions } from './fuzz-options.js';
import { JOURNAL_SCHEMA, SegmentWriter } from './journal.js';
import { type MergedCampaign, mergeCampaigns } from './merge-campaigns.js';
import { RUN } from './outcome.js';
import { headCommit } from './package-root.js';
import { type ReadCampaign, readCampaign } from './read-campaign.js';
import { packShard, unpackShard } from './shard-artifact.js';
import { type CollectedShard, runShardQueue } from './shard-queue.js';

export interface QueueOptions extends FuzzOptions {
  readonly url: string;
  readonly shards: number;
  readonly leaseMs: number;
}

export interface QueueEnd {
  readonly kind: 'queue';
  readonly merged: MergedCampaign;
  readonly folder: string;
  readonly ranHere: number;
  /** Shards of which there is nothing, a sentence each. */
  readonly failed: readonly string[];
}

export type QueueResult = QueueEnd | { kind: 'error'; exitCode: 2 | 3 | 4; message: string };

const PROGRESS_MS = 200;

export async function runQueueCampaign(options: QueueOptions): Promise<QueueResult> {
  const { folder, url, shards, leaseMs, interrupt, events } = options;
  const result = await runShardQueue({
    ...{ url, shards, leaseMs, interrupt, name: queueName(options) },
    run: (index, progress) => runShard(index, progress, options),
    onNotice: (message) => events.noticed(message),
  });
  if (result.kind === 'error') return result;
  if (interrupt.aborted) return { kind: 'error', exitCode: 3, message: 'interrupted' };
  return joined(result.shards, result.ranHere, folder, options);
}

/** Equal for machines that would draw equal cases; the commit stands for generator and kernels. */
function queueName({ seed, defaultSeed, ...options }: QueueOptions): string {
  const { kernels, checked, twin, properties, budget, shards, corpus } = options;
  const facts = [seed ?? defaultSeed, kernels, checked, twin, properties, budget, shards];
  return `kvproof-${fnv1a64(JSON.stringify([...facts, corpus, headCommit(process.cwd())]))}`;
}

const shardFolder = (folder: string, index: number) => join(folder, 'shards', String(index));

/** A shard that this machine has begun before is gone on with. */
async function runShard(
  index: number,
  progress: (cases: number) => void,
  options: QueueOptions,
): Promise<string> {
  const folder = shardFolder(options.folder, index);
  const { events } = options;
  let statistics: CampaignStatistics | null = null;
  let lastAt = 0;
  const result = await runFuzz({
    ...options,
    ...{ folder, resume: true, shard: { index, count: options.shards } },
    events: {
      started: (started) => {
        ({ statistics } = started);
        events.started(started);
      },
      changed: () => {
        events.changed();
        if (statistics === null || Date.now() - lastAt < PROGRESS_MS) return;
        lastAt = Date.now();
        progress([...statistics.kernels.values()].reduce((sum, { done }) => sum + done.size, 0));
      },
      found: (found) => events.found(found),
      noticed: (message) => events.noticed(message),
    },
  });
  if (result.kind === 'error') throw new Error(result.message);
  if (result.stopped !== 'finished') throw new Error(`stopped by ${result.stopped}`);
  return packShard(folder);
}

function joined(
  shards: readonly CollectedShard[],
  ranHere: number,
  folder: string,
  { replayCommand }: QueueOptions,
): QueueResult {
  const failed: string[] = [];
  const folders: string[] = [];
  for (const { index, packed, reason } of shards) {
    const target = shardFolder(folder, index);
    const wrong = packed === null ? reason : unpackShard(packed, target);
    if (wrong === null) folders.push(target);
    else failed.push(`shard ${index} of ${shards.length}: ${wrong}`);
  }
  if (folders.length === 0) {
    const message = failed[0] ?? 'no shard was done';
    return { kind: 'error', exitCode: 3, message };
  }
  const target = join(folder, 'merged');
  rmSync(target, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const merged = mergeCampaigns(folders, target, (path, uri) => replayCommand(path, uri));
  if (merged.kind === 'error') return merged;
  const deadly = shards.filter(({ isDeadly }) => isDeadly);
  const whole = deadly.length === 0 ? merged : withDeadly(merged, deadly, target, shards.length);
  return { kind: 'queue', merged: whole, folder: target, ranHere, failed };
}

/** A shard that killed its machine twice is a finding, told by how far it had come. */
function withDeadly(
  merged: MergedCampaign,
  deadly: readonly CollectedShard[],
  folder: string,
  count: number,
): MergedCampaign {
  const [kernel] = merged.manifest.kernels;
  const at = Date.now();
  const writer = SegmentWriter.open(journalFolder(folder), {
    ...{ kind: 'segment', schema: JOURNAL_SCHEMA, campaign: merged.manifest.id },
    ...{ session: `queue${at.toString(36)}`, slot: 0, kernel: kernel.name, uri: kernel.name },
    ...{ device: kernel.device, properties: [RUN], at },
  });
  for (const { index, cases } of deadly) {
    const message =
      `shard ${index} of ${count} ended the process that ran it twice, after ${cases} cases of ` +
      `it were done; kvproof fuzz --shard ${index}/${count} runs it alone`;
    writer.append({
      ...{ kind: 'finding', signature: `${RUN}/shard-lost/${index}-of-${count}`, property: RUN },
      ...{ state: 'confirmed', index: cases, at, file: null, message },
    });
  }
  writer.close();
  const read = readCampaign(folder, new CampaignStatistics()) as ReadCampaign;
  return { ...merged, statistics: read.statistics };
}
