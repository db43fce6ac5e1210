// json.ts - the machine-readable results of a run, schema kvproof.verify/1.
//
// Fields of every result: schema, seed, kernel, device, commit, elapsedMs. JSON has no NaN and no
// Infinity; where a worst element has one it is written as a text.

import type { Campaign } from '../campaign/campaign.js';
import { cellCoverage } from '../campaign/cell-coverage.js';
import { numberOrText } from '../campaign/finding.js';
import { CASE_SPACE } from '../campaign/plan.js';
import type { Tally } from '../campaign/tally.js';

export const VERIFY_SCHEMA = 'kvproof.verify/1';

export function verifyJson(campaign: Campaign, tally: Tally, exitCode: number): string {
  const { pool, hello } = campaign;
  const result = {
    schema: VERIFY_SCHEMA,
    seed: campaign.seed,
    kernel: campaign.kernel,
    device: hello.device,
    commit: campaign.commit,
    elapsedMs: campaign.elapsedMs,
    exitCode,
    planned: campaign.planned,
    stopped: pool.stopped,
    cases: tally.cases,
    elements: tally.elements,
    largestRatio: tally.largestRatio,
    properties: tally.properties,
    findings: campaign.findings.map(({ finding, path, isNew, count }) => ({
      id: finding.id,
      property: finding.property,
      signature: finding.signature,
      message: finding.message,
      case: finding.case,
      worst: finding.worst,
      source: finding.source,
      shrink: finding.shrink,
      original: finding.original,
      count,
      path,
      replay: finding.replay,
      new: isNew,
    })),
    broken: pool.broken.map(({ planned, message }) => ({ case: planned.case, message })),
    coverage: tally.coverage,
    cells: cellCoverage(pool.records, hello.capabilities, CASE_SPACE),
  };
  return `${JSON.stringify(result, numberOrText, 2)}\n`;
}
