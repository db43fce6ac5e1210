// A campaign over kernels that crash, hang, lose the device or are not deterministic, in real
// worker processes. Whatever a kernel does comes back as a finding or as an exit code, and never
// ends the campaign.
import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { type Campaign, type CampaignOptions, runCampaign } from './campaign.js';
import { Workdir } from './workdir.js';

const workerPath = fileURLToPath(new URL('./hostile-worker.mjs', import.meta.url));

function folder(): string {
  return mkdtempSync(join(tmpdir(), 'kvproof-campaign-'));
}

async function campaignOf(
  kernel: string,
  change: Partial<CampaignOptions> = {},
): Promise<Campaign & { folder: string }> {
  const path = folder();
  const opened = Workdir.open(join(path, 'work'));
  if (opened.kind === 'error') throw new Error(opened.message);
  const result = await runCampaign({
    kernel,
    checked: false,
    seed: 1,
    budget: { generated: 8, seconds: null },
    corpus: false,
    workers: 2,
    workdir: opened.workdir,
    findings: join(path, 'findings'),
    baseline: null,
    properties: ['exact-codes'],
    caseDeadlineMs: 60_000,
    shrinkMs: 4_000,
    replayCommand: (file, uri) => `replay ${file} ${uri}`,
    interrupt: new AbortController().signal,
    events: { opened: () => {}, ran: () => {}, shrinking: () => {} },
    workerPath,
    ...change,
  });
  if (result.kind === 'error') throw new Error(result.message);
  return { ...result, folder: path };
}

const signatures = ({ findings }: Campaign) => findings.map(({ finding }) => finding.signature);

describe('a kernel that ends its process', () => {
  it('is a finding with the signal, shrunk to one request at the length that matters', async () => {
    const campaign = await campaignOf('hostile:segfault@200', { shrinkMs: 20_000 });
    expect(signatures(campaign)).toEqual(['run/crash/SIGSEGV']);
    const { problem } = campaign.findings[0].finding.case;
    expect(problem.tokens).toHaveLength(1);
    expect(problem.tokens[0]).toBe(200);
    expect(problem.kvHeads).toBe(1);
    expect(campaign.pool.records).toHaveLength(campaign.planned);
  });

  it('is seen by its exit code when it leaves by itself', async () => {
    const campaign = await campaignOf('hostile:exit@200', { shrinkMs: 1 });
    expect(signatures(campaign)).toEqual(['run/crash/exit-0']);
  });

  it('is reported as flaky when the second run passes', async () => {
    const campaign = await campaignOf(`hostile:abort@200?${join(folder(), 'once')}`);
    expect(signatures(campaign)).toEqual(['run/flaky/crash/SIGABRT']);
    expect(campaign.findings[0].count).toBe(1);
  });

  it('leaves no pending case behind, and the finding on disk', async () => {
    const campaign = await campaignOf('hostile:abort@200', { shrinkMs: 1 });
    expect(readdirSync(join(campaign.folder, 'work', 'pending'))).toEqual([]);
    const files = readdirSync(join(campaign.folder, 'findings'));
    expect(files).toEqual([`${campaign.findings[0].finding.id}.json`]);
    const text = readFileSync(join(campaign.folder, 'findings', files[0]), 'utf8');
    expect(JSON.parse(text)).toMatchObject({ schema: 'kvproof.finding/1', property: 'run' });
  });
});

it('a finding is on disk before the next one is shrunk', async () => {
  const path = join(folder(), 'findings');
  const stored = new Map<string, number>();
  const shrinking = (signature: string) => {
    const count = existsSync(path) ? readdirSync(path).length : 0;
    if (!stored.has(signature)) stored.set(signature, count);
  };
  const campaign = await campaignOf('hostile:doubled', {
    ...{ properties: ['error-bound', 'zero-query'], findings: path, shrinkMs: 500 },
    events: { opened: () => {}, ran: () => {}, shrinking },
  });
  expect(signatures(campaign).length).toBeGreaterThan(1);
  expect([...stored.values()]).toEqual(signatures(campaign).map((_, i) => i));
});

it('a kernel that hangs is killed at the deadline and is a finding', async () => {
  const campaign = await campaignOf('hostile:hang@200', { caseDeadlineMs: 500, shrinkMs: 1_500 });
  expect(signatures(campaign)).toEqual(['run/timeout']);
  expect(campaign.pool.stopped).toBe('finished');
});

it('a device error ends the process and is one finding, not one for each property', async () => {
  const campaign = await campaignOf('hostile:device-error@200', { shrinkMs: 1, properties: null });
  expect(signatures(campaign)).toEqual(['run/device-error']);
});

it('a device that is gone after a crash ends the campaign with exit code 4', async () => {
  const campaign = await campaignOf(`hostile:lost@200?${join(folder(), 'gone')}`);
  expect(campaign.pool.loss).toMatchObject({ exitCode: 4 });
  expect(campaign.pool.loss?.message).toContain('no device answers');
  expect(campaign.pool.records.length).toBeLessThan(campaign.planned);
});

it('an exception of this project is reported as such and not held against the kernel', async () => {
  const campaign = await campaignOf('hostile:throw@200');
  expect(campaign.findings).toEqual([]);
  expect(campaign.pool.broken.length).toBeGreaterThan(0);
  expect(campaign.pool.broken[0].message).toContain('a bug of the binding');
});

it('a time that is over stops the run at once and says how far it came', async () => {
  const budget = { generated: 100_000, seconds: 1 };
  const startedAt = Date.now();
  const campaign = await campaignOf('hostile:refuse@999999', { budget });
  expect(campaign.pool.stopped).toBe('time');
  expect(campaign.pool.records.length).toBeLessThan(campaign.planned);
  expect(Date.now() - startedAt).toBeLessThan(10_000);
});

it('an interrupt ends the workers and keeps what was found', async () => {
  const controller = new AbortController();
  let ran = 0;
  const campaign = await campaignOf('hostile:refuse@999999', {
    budget: { generated: 100_000, seconds: null },
    interrupt: controller.signal,
    events: {
      opened: () => {},
      ran: () => {
        ran += 1;
        if (ran === 5) controller.abort();
      },
      shrinking: () => {},
    },
  });
  expect(campaign.pool.stopped).toBe('interrupt');
  expect(campaign.pool.records.length).toBeGreaterThanOrEqual(5);
});

it('the number of workers changes neither the cases nor the verdicts', async () => {
  const of = async (workers: number) => {
    const { pool } = await campaignOf('hostile:refuse@999999', {
      workers,
      budget: { generated: 12, seconds: null },
      properties: null,
    });
    return pool.records.map(({ planned, verdicts }) => ({ hash: planned.hash, verdicts }));
  };
  expect(await of(2)).toEqual(await of(1));
});
