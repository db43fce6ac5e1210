// verify-reports.ts - the report files of one `kvproof verify`, from its first moment to its last.
//
// A gate reads files, and a run may be killed at any time, so the files are never green before the
// end: the reports of an earlier run go first, the JUnit file says from then on that the run has
// not ended, and only a run that has ended writes what it saw.

import { properties } from '../../properties/index.js';
import type { Campaign } from '../campaign/campaign.js';
import { RUN, RUN_STATEMENT } from '../campaign/outcome.js';
import type { Tally } from '../campaign/tally.js';
import { annotations } from '../report/annotation.js';
import { jobSummary, jobSummaryError } from '../report/job-summary.js';
import { verifyJson } from '../report/json.js';
import { junitError, junitXml } from '../report/junit.js';
import { sarifJson } from '../report/sarif.js';
import { appendReport, print, removeReport, tell, writeReport } from '../report/writer.js';
import { reportPath } from './arguments.js';

export interface ReportFlags {
  kernel?: string;
  json?: string;
  junit?: string;
  sarif?: string;
}

const NOT_ENDED = 'the run did not end: it was killed, or its machine was';

export class VerifyReports {
  private readonly kernel: string;
  /** Of the page that GitHub Actions shows for a job. */
  private readonly summary = process.env.GITHUB_STEP_SUMMARY;
  private readonly troubles: string[] = [];

  constructor(
    private readonly flags: ReportFlags,
    private readonly version: string,
  ) {
    this.kernel = flags.kernel ?? 'default kernel';
    for (const option of ['json', 'junit', 'sarif'] as const) {
      reportPath(`--${option}`, flags[option]);
    }
    for (const option of ['json', 'sarif'] as const) {
      const path = flags[option];
      if (path !== undefined) this.note(removeReport(`--${option}`, path));
    }
    this.writeJunit(junitError(this.kernel, NOT_ENDED));
  }

  /** Nothing ran, and this is why. */
  fail(message: string): void {
    this.writeJunit(junitError(this.kernel, message));
    this.writeSummary(jobSummaryError(this.kernel, message));
  }

  /** The exit code, which is another one if a report could not be written. */
  write(campaign: Campaign, sums: Tally, exitCode: number): number {
    const { json, sarif } = this.flags;
    if (process.env.GITHUB_ACTIONS === 'true') print(...annotations(campaign.findings));
    if (json !== undefined) {
      this.note(writeReport('--json', json, verifyJson(campaign, sums, exitCode)));
    }
    if (sarif !== undefined) {
      const rules = [{ name: RUN, statement: RUN_STATEMENT }, ...properties];
      this.note(writeReport('--sarif', sarif, sarifJson(campaign, rules, this.version)));
    }
    this.writeJunit(junitXml(campaign, sums));
    this.writeSummary(jobSummary(campaign, sums, exitCode));
    for (const trouble of this.troubles) tell(`kvproof verify: ${trouble}`);
    return exitCode === 0 && this.troubles.length > 0 ? 3 : exitCode;
  }

  private writeJunit(text: string): void {
    const { junit } = this.flags;
    if (junit !== undefined) this.note(writeReport('--junit', junit, text));
  }

  private writeSummary(text: string): void {
    if (this.summary === undefined || this.summary === '') return;
    this.note(appendReport('GITHUB_STEP_SUMMARY', this.summary, text));
  }

  private note(trouble: string | null): void {
    if (trouble !== null && !this.troubles.includes(trouble)) this.troubles.push(trouble);
  }
}
