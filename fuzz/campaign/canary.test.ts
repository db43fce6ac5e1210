// Kernels that lie, as a campaign sees them: one that is wrong in one case of a hundred, one that
// writes behind its output, one that hands back an output of another shape. Each is found, and the
// case that is reported fails when it is run again.
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { caseHash } from '../../properties/case.js';
import { type Campaign, runCampaign } from './campaign.js';
import { Workdir } from './workdir.js';

const workerPath = fileURLToPath(new URL('./hostile-worker.mjs', import.meta.url));

async function campaignOf(
  kernel: string,
  generated: number,
  properties: readonly string[] = ['exact-codes', 'redzone'],
): Promise<Campaign> {
  const path = mkdtempSync(join(tmpdir(), 'kvproof-canary-'));
  const opened = Workdir.open(join(path, 'work'));
  if (opened.kind === 'error') throw new Error(opened.message);
  const result = await runCampaign({
    ...{ kernel, checked: false, seed: 1, corpus: false, workers: 2, baseline: null, workerPath },
    budget: { generated, seconds: null },
    workdir: opened.workdir,
    findings: join(path, 'findings'),
    properties,
    ...{ caseDeadlineMs: 20_000, shrinkMs: 5_000 },
    replayCommand: (file, uri) => `replay ${file} ${uri}`,
    interrupt: new AbortController().signal,
    events: { opened: () => {}, ran: () => {}, shrinking: () => {} },
  });
  if (result.kind === 'error') throw new Error(result.message);
  return result;
}

it('a canary that is wrong in one case of a hundred is noticed within 600 cases', async () => {
  const campaign = await campaignOf('hostile:canary', 600, ['exact-codes']);
  expect(campaign.findings.length).toBeGreaterThan(0);
  // About six; a case without a token has nothing that could be wrong.
  const count = campaign.findings.reduce((sum, found) => sum + found.count, 0);
  expect(count).toBeLessThan(15);
  for (const { finding } of campaign.findings) {
    expect(finding.property).toBe('exact-codes');
    // However little there is to shrink to, what is reported fails by itself.
    expect(Number.parseInt(caseHash(finding.case).slice(0, 8), 16) % 100).toBe(0);
  }
}, 240_000);

it('a kernel that writes behind its output is found by its redzone', async () => {
  const { findings } = await campaignOf('hostile:overrun', 4);
  expect(findings.map(({ finding }) => finding.signature)).toEqual(['redzone/redzone-output']);
  expect(findings[0].finding.case.problem.tokens).toEqual([0]);
}, 120_000);

it('a kernel whose output has another shape has failed to run', async () => {
  const { findings } = await campaignOf('hostile:shape', 4);
  expect(findings.map(({ finding }) => finding.signature)).toEqual(['run/shape']);
}, 120_000);
