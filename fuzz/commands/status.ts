// status - where a campaign stands, from its folder alone: it may be running, killed or finished,
// here or on another machine. Exit code 0 whatever was found, 2 for a folder without a campaign.

import { join } from 'node:path';
import { findingsFolder } from '../campaign/campaign-folder.js';
import { campaignStatus, unreachedCells } from '../campaign/campaign-status.js';
import { type ReadCampaign, readCampaign } from '../campaign/read-campaign.js';
import { campaignJson } from '../report/campaign-json.js';
import { findingLines } from '../report/fuzz.js';
import { screenLines } from '../report/status-screen.js';
import { print, tell } from '../report/writer.js';
import { parseCount, replayCommand, UsageError } from './arguments.js';

export interface StatusFlags {
  unreached?: string;
  json: boolean;
}

export async function status(folder: string, flags: StatusFlags): Promise<number> {
  const read = readCampaign(folder);
  if (read.kind === 'error') throw new UsageError(read.message);
  const shown = statusOf(read);
  const unreached =
    flags.unreached === undefined ? 0 : parseCount('--unreached', flags.unreached, 1_000_000);
  for (const problem of read.problems) tell(`kvproof status: ${problem}`);
  if (flags.json) {
    process.stdout.write(campaignJson('kvproof.status/1', read.manifest, shown, read.problems));
    return 0;
  }
  print(
    ...screenLines(shown, null, Date.now(), Number.POSITIVE_INFINITY),
    ...shown.findings.flatMap((finding) => ['', ...findingLines(finding)]),
    ...read.manifest.kernels.flatMap((kernel) =>
      unreachedCells(kernel, read.statistics)
        .slice(0, unreached)
        .map((cell) => `unreached on ${kernel.name}: ${cell}`),
    ),
  );
  return 0;
}

export function statusOf({ folder, manifest, statistics }: Omit<ReadCampaign, 'kind'>) {
  const findings = findingsFolder(folder);
  return campaignStatus({
    manifest,
    statistics,
    pathOf: (file) => join(findings, file),
    replayOf: (path, uri) => replayCommand(path, uri, howOf(manifest)),
  });
}

/** Options that a replay needs to run a case as the campaign did. */
export function howOf({ twin, checked }: ReadCampaign['manifest']) {
  return { twin: twin ?? undefined, checked };
}
