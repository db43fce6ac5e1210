// report - a campaign's folder as a page, a table or the answer to a query. Exit code 0 when what
// was asked for was written, whatever was found; 3 when it could not be.

import { join } from 'node:path';
import { findingsFolder } from '../campaign/campaign-folder.js';
import { unreachedCells } from '../campaign/campaign-status.js';
import { readCaseFile } from '../campaign/case-file.js';
import { type ReadCampaign, readCampaign } from '../campaign/read-campaign.js';
import { exportCases } from '../report/campaign-export.js';
import { campaignMarkdown } from '../report/campaign-markdown.js';
import { type CampaignPage, campaignPage } from '../report/campaign-page.js';
import { count } from '../report/failure.js';
import { print, tell, writeReport } from '../report/writer.js';
import { reportPath, UsageError } from './arguments.js';
import { statusOf } from './status.js';

export interface ReportFlags {
  html?: string;
  markdown?: string;
  parquet?: string;
  csv?: string;
  sql?: string;
}

export async function report(folder: string, flags: ReportFlags): Promise<number> {
  const { markdown, parquet, csv, sql } = flags;
  for (const option of ['html', 'markdown', 'parquet', 'csv'] as const) {
    reportPath(`--${option}`, flags[option]);
  }
  const read = readCampaign(folder);
  if (read.kind === 'error') throw new UsageError(read.message);
  for (const problem of read.problems) tell(`kvproof report: ${problem}`);
  const isTable = parquet !== undefined || csv !== undefined || sql !== undefined;
  const html = flags.html ?? (isTable ? null : join(folder, 'report.html'));
  const data = pageOf(read);
  if (markdown !== undefined) {
    const trouble = writeReport('--markdown', markdown, campaignMarkdown(data));
    if (trouble !== null) return refuse(trouble);
  }
  if (html !== null) {
    const trouble = writeReport('--html', html, await campaignPage(data));
    if (trouble !== null) return refuse(trouble);
    print(`report in ${html}`);
  }
  if (!isTable) return 0;
  const exported = await exportCases({ folder, parquet, csv, sql });
  if (exported.kind === 'error') return refuse(exported.message);
  process.stdout.write(exported.text);
  const rows = count(exported.rows, 'row');
  for (const path of [parquet, csv]) if (path !== undefined) print(`${rows} in ${path}`);
  return 0;
}

function refuse(message: string): number {
  tell(`kvproof report: ${message}`);
  return 3;
}

function pageOf(read: ReadCampaign): CampaignPage {
  const { folder, manifest, statistics, problems } = read;
  const smallest = new Map(
    [...statistics.findings.values()].flatMap(({ file }) => {
      if (file === null) return [];
      const stored = readCaseFile(join(findingsFolder(folder), file));
      if (stored.kind === 'error') return [];
      return [[file.replace(/\.json$/, ''), stored.stored.case] as const];
    }),
  );
  const unreached = new Map(
    manifest.kernels.map((kernel) => [kernel.name, unreachedCells(kernel, statistics)] as const),
  );
  const status = statusOf(read);
  return { manifest, status, statistics, smallest, unreached, problems };
}
