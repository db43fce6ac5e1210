// campaign-json.ts - a campaign's state as one JSON object: the fields of every result, then those
// of CampaignStatus. Schemas kvproof.status/1 and kvproof.merge/1.

import type { CampaignStatus } from '../campaign/campaign-status.js';
import { numberOrText } from '../campaign/finding.js';
import type { Manifest } from '../campaign/manifest.js';

export function campaignJson(
  schema: 'kvproof.status/1' | 'kvproof.merge/1',
  manifest: Manifest,
  status: CampaignStatus,
  problems: readonly string[],
): string {
  const common = {
    schema,
    seed: manifest.seed,
    kernel: manifest.kernels.map(({ name }) => name).join(' '),
    device: manifest.kernels[0]?.device ?? null,
    commit: manifest.commit,
    elapsedMs: status.activeMs,
  };
  return `${JSON.stringify({ ...common, ...status, problems }, numberOrText, 2)}\n`;
}
