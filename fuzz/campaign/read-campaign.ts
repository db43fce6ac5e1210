// read-campaign.ts - a campaign's folder as sums: manifest and all journals, read and nothing
// written. What is wrong with a journal is said and does not keep the rest from being read.

import { journalFolder, readManifest } from './campaign-folder.js';
import { CampaignStatistics } from './campaign-statistics.js';
import { readSegment, type SegmentReport, segmentPaths } from './journal-reader.js';
import type { Manifest } from './manifest.js';

export interface ReadCampaign {
  readonly kind: 'campaign';
  readonly folder: string;
  readonly manifest: Manifest;
  readonly statistics: CampaignStatistics;
  readonly segments: readonly SegmentReport[];
  /** One sentence for each segment that is damaged or belongs to another campaign. */
  readonly problems: readonly string[];
}

export type ReadCampaignResult = ReadCampaign | { kind: 'error'; message: string };

/** `into`: sums that another folder of the same campaign has begun. */
export function readCampaign(
  folder: string,
  into: CampaignStatistics = new CampaignStatistics(),
): ReadCampaignResult {
  const read = readManifest(folder);
  if (read.kind === 'error') return read;
  const { manifest } = read;
  const names = new Set(manifest.kernels.map(({ name }) => name));
  const segments: SegmentReport[] = [];
  const problems: string[] = [];
  for (const path of segmentPaths(journalFolder(folder))) {
    let isOurs = true;
    const report = readSegment(path, ({ header, line, cells }) => {
      isOurs = header.campaign === manifest.id && names.has(header.kernel);
      if (!isOurs) return;
      into.start(header);
      into.add(header, line, cells);
    });
    if (!isOurs) problems.push(`${path}: belongs to another campaign, left out`);
    if (report.problem !== null) {
      const more = report.damaged > 1 ? `, and ${report.damaged - 1} more lines` : '';
      problems.push(`${report.problem}${more}`);
    }
    segments.push(report);
  }
  return { kind: 'campaign', folder, manifest, statistics: into, segments, problems };
}
