// merge - joins the shards of one campaign into a folder for `status` and `report`. Exit codes as
// of the campaign itself, so that the last step of a matrix can be the gate.

import { mergeCampaigns } from '../campaign/merge-campaigns.js';
import { campaignJson } from '../report/campaign-json.js';
import { findingLines } from '../report/fuzz.js';
import { statusLine } from '../report/status-screen.js';
import { print, tell } from '../report/writer.js';
import { replayCommand } from './arguments.js';
import { howOf, statusOf } from './status.js';

export interface MergeFlags {
  into: string;
  json: boolean;
}

export async function merge(folders: readonly string[], flags: MergeFlags): Promise<number> {
  const merged = mergeCampaigns(folders, flags.into, (path, uri, manifest) =>
    replayCommand(path, uri, howOf(manifest)),
  );
  if (merged.kind === 'error') {
    tell(`kvproof merge: ${merged.message}`);
    return merged.exitCode;
  }
  const { manifest, statistics, problems } = merged;
  const status = statusOf({ folder: flags.into, manifest, statistics, segments: [], problems });
  for (const problem of problems) tell(`kvproof merge: ${problem}`);
  if (flags.json) {
    process.stdout.write(campaignJson('kvproof.merge/1', manifest, status, problems));
  } else {
    print(...status.findings.flatMap(findingLines), statusLine(status));
    print(`${folders.length} folders joined in ${flags.into}`);
  }
  if (status.findings.some((finding) => finding.new)) return 1;
  return status.broken === 0 && status.cases > 0 ? 0 : 3;
}
