// Campaigns over kernels that crash, hang, fill the memory, flood their output or start processes
// without end: one attributed finding each, and the next case follows at once. Shards join to the
// unsplit campaign, a session goes on where another ended, and the ledger keeps its word.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { canonicalJson } from '../../properties/case.js';
import { campaignStatus } from './campaign-status.js';
import { runFuzz } from './fuzz-campaign.js';
import type { FuzzOptions, FuzzResult } from './fuzz-options.js';
import type { CaseLine } from './journal.js';
import { readSegment, segmentPaths } from './journal-reader.js';
import { LEDGER_SCHEMA, Ledger, readLedger } from './ledger.js';
import { mergeCampaigns } from './merge-campaigns.js';
import { PAIRS_MAX } from './plan.js';
import { COOKIE } from './process-tree.js';
import { Workdir } from './workdir.js';
import { DEFAULT_LIMITS, WorkerProcess } from './worker-process.js';

const workerPath = fileURLToPath(new URL('./hostile-worker.mjs', import.meta.url));
const made = () => mkdtempSync(join(tmpdir(), 'kvproof-fuzz-'));

async function fuzz(kernel: string, change: Partial<FuzzOptions> = {}) {
  const folder = change.folder ?? join(made(), 'campaign');
  const result = await runFuzz({
    kernels: [kernel],
    ...{ checked: false, twin: undefined, seed: 1, defaultSeed: 1 },
    shard: { index: 1, count: 1 },
    ...{ folder, resume: false, corpus: null, ledger: Ledger.empty, isKnown: () => false },
    budget: { generated: 8, seconds: null },
    ...{
      workers: 1,
      mode: 'long',
      batch: 4,
      fullOneIn: 1,
      pairsMax: PAIRS_MAX,
      properties: ['exact-codes'],
    },
    ...{ caseDeadlineMs: 60_000, shrinkMs: 1 },
    limits: DEFAULT_LIMITS,
    replayCommand: (path, uri) => `replay ${path} ${uri}`,
    interrupt: new AbortController().signal,
    events: { started() {}, changed() {}, found() {}, noticed() {} },
    workerPath,
    ...change,
  });
  if (result.kind === 'error') throw new Error(result.message);
  return { ...result, folder };
}

const statusOf = ({ manifest, statistics }: FuzzResult) =>
  campaignStatus({ manifest, statistics, pathOf: (f) => f, replayOf: (path) => path });

const found = (result: FuzzResult) =>
  statusOf(result).findings.map(({ signature, state }) => `${signature} ${state}`);

function linesOf(folder: string): CaseLine[] {
  const lines: CaseLine[] = [];
  for (const path of segmentPaths(join(folder, 'journal'))) {
    const report = readSegment(path, ({ line }) => {
      if (line.kind === 'case') lines.push(line);
    });
    expect(report.problem).toBeNull();
  }
  return lines;
}

/** Longest pause between a failing case and the next one of the same worker. */
function longestPause(lines: readonly CaseLine[]): number {
  let longest = 0;
  for (const [i, line] of lines.entries()) {
    const next = lines[i + 1];
    if (line.failures === undefined || next === undefined) continue;
    longest = Math.max(longest, next.at - next.ms - line.at);
  }
  return longest;
}

/** What it takes at this moment to start a process that opens a kernel. */
async function timeOfStart(): Promise<number> {
  const opened = Workdir.open(join(made(), 'work'));
  if (opened.kind === 'error') throw new Error(opened.message);
  const startedAt = Date.now();
  const options = { uri: 'ref:', checked: false, workdir: opened.workdir, slot: 0, workerPath };
  const worker = await WorkerProcess.open(options);
  if (worker.kind === 'open') await worker.worker.kill();
  return Date.now() - startedAt;
}

function processesMarked(cookieOf: string): number {
  return readdirSync('/proc').filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`${COOKIE}=${cookieOf}`);
    } catch {
      return false;
    }
  }).length;
}

describe('a kernel that takes its process along is one finding, and the next case follows', () => {
  const ends: [string, string, Partial<FuzzOptions>][] = [
    ['segfault', 'run/crash/SIGSEGV', {}],
    ['abort', 'run/crash/SIGABRT', {}],
    ['hang', 'run/timeout', { caseDeadlineMs: 4_000 }],
    ['memory', 'run/crash/memory-limit', { limits: { ...DEFAULT_LIMITS, memoryBytes: 500e6 } }],
    ['output', 'run/crash/output-limit', {}],
    ['forks', 'run/crash/process-limit', {}],
    ['device-error', 'run/device-error', {}],
  ];
  for (const [mode, signature, change] of ends) {
    it(mode, async () => {
      const startMs = await timeOfStart();
      const result = await fuzz(`hostile:${mode}@150`, change);
      expect(found(result)).toEqual([`${signature} confirmed`]);
      expect(result.stopped).toBe('finished');
      const lines = linesOf(result.folder);
      expect(lines.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
      // Within a second, and what a machine with other work adds: a start takes 0.25 s alone.
      expect(longestPause(lines)).toBeLessThan(1_000 + 4 * startMs);
      expect(processesMarked(`${process.pid}-`)).toBe(0);
    });
  }
});

it('a failure that depends on earlier cases is flaky, whatever comes after it', async () => {
  const once = join(made(), 'once');
  const result = await fuzz(`hostile:abort@150?${once}`);
  expect(found(result)).toEqual(['run/crash/SIGABRT flaky']);
});

it('four shards joined are the unsplit campaign, finding for finding', {
  timeout: 240_000,
}, async () => {
  const change = {
    budget: { generated: 24, seconds: null },
    ...{ shrinkMs: 120_000, workers: 2, mode: 'both' as const },
    properties: ['exact-codes', 'redzone'],
  };
  const whole = await fuzz('hostile:wrong@150', change);
  const folders: string[] = [];
  for (let index = 1; index <= 4; index++) {
    const part = await fuzz('hostile:wrong@150', { ...change, shard: { index, count: 4 } });
    expect(part.manifest.id).toBe(whole.manifest.id);
    folders.push(part.folder);
  }
  const target = join(made(), 'merged');
  const merged = mergeCampaigns(folders, target, (path, uri) => `replay ${path} ${uri}`);
  if (merged.kind === 'error') throw new Error(merged.message);
  expect(merged.problems).toEqual([]);
  const files = (folder: string) =>
    readdirSync(join(folder, 'findings')).map((name) => {
      const json = JSON.parse(readFileSync(join(folder, 'findings', name), 'utf8'));
      const { firstSeen, lastSeen, replay, ...rest } = json;
      return { name, ...rest, hasReplay: replay.includes(name) && firstSeen <= lastSeen };
    });
  expect(files(target).length).toBeGreaterThan(0);
  expect(files(target)).toEqual(files(whole.folder));
  const told = (result: Pick<FuzzResult, 'manifest' | 'statistics'>) => {
    const status = statusOf(result as FuzzResult);
    const findings = status.findings
      .map(({ signature, state, count, index, case: hash }) => ({
        ...{ signature, state, count, index, hash },
      }))
      .sort((a, b) => (a.signature < b.signature ? -1 : 1));
    return { cases: status.cases, elements: status.elements, findings };
  };
  expect(told(merged as unknown as FuzzResult)).toEqual(told(whole));
  // Joined once more with itself, nothing is counted twice.
  const again = mergeCampaigns([target, target], join(made(), 'twice'), () => '');
  expect(told(again as unknown as FuzzResult)).toEqual(told(whole));
});

it('a session goes on where another ended, and only with the same campaign', async () => {
  const first = await fuzz('hostile:wrong@150', { budget: { generated: 5, seconds: null } });
  const { folder } = first;
  await expect(fuzz('hostile:wrong@150', { folder })).rejects.toThrow('--resume');
  const resume = { folder, resume: true };
  await expect(fuzz('hostile:wrong@150', { ...resume, seed: 2 })).rejects.toThrow('the seed');
  await expect(fuzz('hostile:wrong@150', { ...resume, pairsMax: 64 })).rejects.toThrow('--pairs');
  const more = await fuzz('hostile:wrong@150', {
    ...resume,
    budget: { generated: 9, seconds: null },
  });
  expect(more.cases).toBe(4);
  expect(linesOf(folder).map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  expect(more.statistics.repeated).toBe(0);
});

it('a folder has one supervisor at a time, and a dead one holds nothing', async () => {
  const { folder } = await fuzz('hostile:wrong@9999', { budget: { generated: 1, seconds: null } });
  const hostname = (await import('node:os')).hostname();
  writeFileSync(join(folder, 'lock'), `${hostname} ${process.pid} 0\n`);
  const change = { folder, resume: true, budget: { generated: 2, seconds: null } };
  await expect(fuzz('hostile:wrong@9999', change)).rejects.toThrow('runs this campaign');
  writeFileSync(join(folder, 'lock'), `${hostname} 999999999 123\n`);
  expect((await fuzz('hostile:wrong@9999', change)).cases).toBe(1);
});

describe('the ledger', () => {
  const ledgerOf = async (entry: object, today = '2026-11-24') => {
    const path = join(made(), 'ledger.json');
    const common = { link: 'https://example.org/12', expires: '2027-01-01' };
    const entries = [{ ...common, ...entry }];
    writeFileSync(path, JSON.stringify({ schema: LEDGER_SCHEMA, entries }));
    const read = await readLedger(path, today);
    if (read.kind === 'error') throw new Error(read.message);
    return read.ledger;
  };
  const crash = { signature: 'run/crash/SIGSEGV', class: 'crash', where: { tokens: { min: 150 } } };

  it('keeps the cases of a crash from being launched', async () => {
    const result = await fuzz('hostile:segfault@150', { ledger: await ledgerOf(crash) });
    expect(found(result)).toEqual([]);
    const { cases } = statusOf(result);
    expect(cases).toBeGreaterThan(0);
    expect(cases).toBeLessThan(8);
  });

  it('covers nothing after its expiry', async () => {
    const ledger = await ledgerOf(crash, '2027-01-01');
    expect(found(await fuzz('hostile:segfault@150', { ledger }))).toEqual([
      'run/crash/SIGSEGV confirmed',
    ]);
  });

  it('covers its own failure only', async () => {
    const ledger = await ledgerOf({ signature: 'exact-codes/k', class: 'wrong-answer' });
    const result = await fuzz('hostile:wrong@150', { ledger });
    const signatures = found(result);
    expect(signatures.length).toBeGreaterThan(0);
    const wrong = signatures[0].split(' ')[0];
    const own = await ledgerOf({ signature: wrong, class: 'wrong-answer' });
    const covered = await fuzz('hostile:wrong@150', { ledger: own });
    expect(statusOf(covered).findings.map(({ state, new: red }) => [state, red])).toEqual(
      signatures.map((text) => (text.startsWith(wrong) ? ['known', false] : ['confirmed', true])),
    );
  });

  it('makes an unexpected pass red, and a fixed failure that is back', async () => {
    const failing = await fuzz('hostile:wrong@150');
    const [finding] = failing.statistics.findings.values();
    const stored = JSON.parse(canonicalJson(finding.case as NonNullable<typeof finding.case>));
    const entry = { signature: finding.signature, class: 'wrong-answer', case: stored };
    const passing = await fuzz('hostile:wrong@99999', { ledger: await ledgerOf(entry) });
    expect(found(passing)).toEqual([`ledger/unexpected-pass/${finding.signature} confirmed`]);
    const back = await fuzz('hostile:wrong@150', {
      ledger: await ledgerOf({ ...entry, fixed: true }),
    });
    expect(found(back)).toContain(`${finding.signature} fixed`);
  });

  it('is refused in one sentence', async () => {
    const path = join(made(), 'ledger.json');
    const refusal = async (json: unknown) => {
      writeFileSync(path, typeof json === 'string' ? json : JSON.stringify(json));
      const read = await readLedger(path, '2026-11-24');
      return read.kind === 'error' ? read.message : 'accepted';
    };
    const entry = { ...crash, link: 'https://example.org/1', expires: '2027-01-01' };
    const of = (change: object) => ({ schema: LEDGER_SCHEMA, entries: [{ ...entry, ...change }] });
    expect(await refusal(of({}))).toBe('accepted');
    expect(await refusal('{')).toContain('is not JSON');
    expect(await refusal(of({ expires: 'never' }))).toContain('entries[0].expires');
    expect(await refusal(of({ link: 'here' }))).toContain('entries[0].link');
    expect(await refusal(of({ where: undefined }))).toContain('a crash needs the case');
    expect(await refusal(of({ colour: 1 }))).toContain('colour');
    rmSync(path);
    expect(await refusal(of({ case: { schema: 'x' } }))).toContain('entries[0].case');
  });
});
