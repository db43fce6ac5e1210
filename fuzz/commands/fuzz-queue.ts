// fuzz-queue - `kvproof fuzz --queue URL`: the same campaign on as many machines as run this
// command. Each of them ends with the whole of it, and with the exit code of the whole.

import { type QueueOptions, runQueueCampaign } from '../campaign/queue-campaign.js';
import { campaignJson } from '../report/campaign-json.js';
import { findingLines } from '../report/fuzz.js';
import { statusLine } from '../report/status-screen.js';
import { print, tell } from '../report/writer.js';
import { statusOf } from './status.js';

export async function fuzzQueue(options: QueueOptions, asJson: boolean): Promise<number> {
  const result = await runQueueCampaign(options);
  if (result.kind === 'error') {
    tell(`kvproof fuzz: ${result.message}`);
    return result.exitCode;
  }
  const { folder, failed, ranHere } = result;
  const { manifest, statistics, problems } = result.merged;
  const status = statusOf({ folder, manifest, statistics, segments: [], problems });
  for (const sentence of [...failed, ...problems]) tell(`kvproof fuzz: ${sentence}`);
  if (asJson) {
    process.stdout.write(campaignJson('kvproof.merge/1', manifest, status, problems));
  } else {
    print(...status.findings.flatMap(findingLines), statusLine(status));
    print(`${ranHere} of ${options.shards} shards ran here; all of them are joined in ${folder}`);
  }
  if (status.findings.some((finding) => finding.new)) return 1;
  return failed.length === 0 && status.broken === 0 && status.cases > 0 ? 0 : 3;
}
