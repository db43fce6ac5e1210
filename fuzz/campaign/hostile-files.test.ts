// Files that anybody may have written: mutated journals, cases, findings, manifests, ledgers and
// safetensors. Nothing throws, nothing outside the folder is touched, memory stays bounded, and
// every complaint is one sentence.
//
// KVPROOF_MUTATIONS sets how many files are tried; README.md records a run with 100,000.
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { campaignPage } from '../report/campaign-page.js';
import { campaignStatus } from './campaign-status.js';
import { readCaseFile } from './case-file.js';
import { JOURNAL_SCHEMA, SegmentWriter } from './journal.js';
import { readSegment } from './journal-reader.js';
import { LEDGER_SCHEMA, readLedger } from './ledger.js';
import { CAMPAIGN_SCHEMA, type Manifest } from './manifest.js';
import { mergeCampaigns } from './merge-campaigns.js';
import { packageRoot } from './package-root.js';
import { readCampaign } from './read-campaign.js';
import { SafetensorsFile } from './safetensors.js';
import { streamOf } from './seed.js';

const MUTATIONS = Number(process.env.KVPROOF_MUTATIONS ?? 2_000);

const device = { name: 'none', sm: 'sm_90', driver: 'emulated' };
const stored = readCaseFile(join(packageRoot(), 'corpus', 'seeds', 'one-token.json'));
const seedCase = stored.kind === 'stored' ? stored.stored.case : null;

/** A campaign's folder with one passing and one failing case, and a finding. */
function campaignFolder(kernel = 'sim:sm_90'): string {
  const folder = join(mkdtempSync(join(tmpdir(), 'kvproof-hostile-')), 'campaign');
  mkdirSync(join(folder, 'findings'), { recursive: true });
  const properties = ['run', 'error-bound'];
  const writer = SegmentWriter.open(join(folder, 'journal'), {
    ...{ kind: 'segment', schema: JOURNAL_SCHEMA, campaign: 'c', session: 's', slot: 0 },
    ...{ kernel, uri: kernel, device, properties, at: 1_700_000_000_000 },
  });
  if (seedCase === null) throw new Error('the seed case is missing');
  const common = { origin: 'generated', case: seedCase, hash: '0123456789abcdef' };
  const pass = { kind: 'pass', elements: 5, ratio: 0.3 } as const;
  const fail = { kind: 'fail', signature: 'error-bound/output', message: 'wrong' } as const;
  const at = 1_700_000_001_000;
  for (const [index, verdict] of [pass, fail].entries()) {
    const verdicts = [{ property: 'error-bound', verdict }];
    writer.append(writer.caseLine({ ...common, index }, verdicts, at, 7));
  }
  const finding = { signature: fail.signature, property: 'error-bound', state: 'new' } as const;
  writer.append({ kind: 'finding', ...finding, index: 1, at, file: 'error-bound-00.json' });
  writer.close();
  const capabilities = {
    ...{ name: 'x', layout: 'record128', tokensMax: 4096, headsPerKvMax: 8, arithmetic: null },
    formats: [
      { format: 'bitdecoding', kAxis: ['channel'], bits: [4], groups: [64], headSizes: [128] },
    ],
    ...{ tiles: [8], deterministic: true, emulated: true, checked: false },
  } as const;
  const manifest = {
    ...{ schema: CAMPAIGN_SCHEMA, id: 'c', seed: 1, checked: false, twin: null },
    ...{ properties: null, shard: '1/1', commit: 'unknown', createdAt: '' },
    kernels: [{ name: kernel, device, capabilities, fingerprint: 'f' }],
  } as unknown as Manifest;
  writeFileSync(join(folder, 'campaign.json'), JSON.stringify(manifest));
  return folder;
}

/** Things that break parsers: nesting, huge numbers, prototype keys, paths, half characters. */
const FRAGMENTS = [
  '[[[[[[[[[[[[[[[[',
  '{"__proto__":{"x":1},',
  '1e999',
  '-0',
  '99999999999999999999',
  '"../../../../etc/passwd"',
  '"\\ud800"',
  '\u0000',
  '\n',
  'null',
  '"constructor"',
  '\x1b[2J',
];

function mutated(original: Buffer, random: fc.Random): Buffer {
  let bytes = Buffer.from(original);
  for (let edits = random.nextInt(1, 4); edits > 0; edits--) {
    const at = random.nextInt(0, bytes.length);
    const end = Math.min(bytes.length, at + random.nextInt(0, 1 << random.nextInt(0, 8)));
    const kinds = [
      () => Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)]),
      () => bytes.subarray(0, at),
      () => Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)]),
      () => {
        const fragment = Buffer.from(FRAGMENTS[random.nextInt(0, FRAGMENTS.length - 1)]);
        return Buffer.concat([bytes.subarray(0, at), fragment, bytes.subarray(end)]);
      },
      () => {
        const copy = Buffer.from(bytes);
        if (at < copy.length) copy[at] ^= 1 << random.nextInt(0, 7);
        return copy;
      },
    ];
    bytes = Buffer.from(kinds[random.nextInt(0, kinds.length - 1)]());
  }
  return bytes;
}

/** One sentence: no line break, no stack, no raw control character. */
function expectSentence(message: string | null): void {
  if (message === null) return;
  expect(message.length).toBeLessThan(1000);
  expect(/\p{Cc}|\bat .*\.ts:\d/u.test(message), message).toBe(false);
}

it(`${MUTATIONS} mutated files are read or refused`, { timeout: 3_600_000 }, async () => {
  const folder = campaignFolder();
  const scratch = mkdtempSync(join(tmpdir(), 'kvproof-mutated-'));
  const tensors = readFileSync(join(packageRoot(), 'corpus', 'code-lm', 'kv-k.safetensors'));
  const entry = { signature: 'a/b', class: 'crash', link: 'https://x.org', expires: '2027-01-01' };
  const ledger = { schema: LEDGER_SCHEMA, entries: [{ ...entry, case: seedCase }] };
  const originals: [string, Buffer, (path: string) => Promise<string | null> | string | null][] = [
    [
      'journal',
      readFileSync(join(folder, 'journal', 's-0.jsonl')),
      (path) => {
        return readSegment(path, () => {}).problem;
      },
    ],
    [
      'case',
      Buffer.from(JSON.stringify(seedCase)),
      (path) => {
        const read = readCaseFile(path);
        return read.kind === 'error' ? read.message : null;
      },
    ],
    // Header and a little data: the whole file would only make the test slow.
    [
      'safetensors',
      tensors.subarray(0, 4096),
      (path) => {
        const opened = SafetensorsFile.open(path);
        if (opened.kind === 'error') return opened.message;
        opened.file.close();
        return null;
      },
    ],
    [
      'manifest',
      readFileSync(join(folder, 'campaign.json')),
      (path) => {
        const into = join(scratch, 'folder');
        mkdirSync(into, { recursive: true });
        writeFileSync(join(into, 'campaign.json'), readFileSync(path));
        const read = readCampaign(into);
        if (read.kind === 'error') return read.message;
        const { manifest, statistics } = read;
        campaignStatus({ manifest, statistics, pathOf: (f) => f, replayOf: (p) => p });
        return null;
      },
    ],
    [
      'ledger',
      Buffer.from(JSON.stringify(ledger)),
      async (path) => {
        const read = await readLedger(path, '2026-11-24');
        return read.kind === 'error' ? read.message : null;
      },
    ],
  ];
  const before = process.memoryUsage().rss;
  let refused = 0;
  for (let i = 0; i < MUTATIONS; i++) {
    const [kind, original, read] = originals[i % originals.length];
    const path = join(scratch, `${kind}.json`);
    writeFileSync(path, mutated(original, streamOf(7, i)));
    const message = await read(path);
    expectSentence(message);
    if (message !== null) refused += 1;
  }
  expect(refused).toBeGreaterThan(MUTATIONS / 4);
  expect(process.memoryUsage().rss - before).toBeLessThan(600e6);
  expect(readdirSync(scratch).sort()).toEqual(
    [...originals.map(([kind]) => `${kind}.json`), 'folder'].sort(),
  );
});

it('a journal cannot point outside its folder', () => {
  const folder = campaignFolder();
  const path = join(folder, 'journal', 's-0.jsonl');
  const text = readFileSync(path, 'utf8');
  writeFileSync(path, text.replace('error-bound-00.json', '../../secret.json'));
  const target = join(folder, '..', 'merged');
  writeFileSync(join(folder, '..', 'secret.json'), 'secret');
  const merged = mergeCampaigns([folder], target, () => '');
  if (merged.kind === 'error') throw new Error(merged.message);
  expect(merged.problems.join()).toContain('is no line of a journal');
  expect([...merged.statistics.findings.values()].map(({ file }) => file)).toEqual([null]);
  // Nor can a link that lies where a segment should.
  symlinkSync('/dev/zero', join(folder, 'journal', 't-0.jsonl'));
  const read = readCampaign(folder);
  expect(read.kind === 'campaign' && read.problems.join()).toContain('is not a regular file');
});

it('a line without end takes no memory', () => {
  const folder = campaignFolder();
  const path = join(folder, 'journal', 's-0.jsonl');
  const text = readFileSync(path, 'utf8');
  const [header, ...lines] = text.split('\n');
  writeFileSync(path, [header, 'x'.repeat(40e6), ...lines].join('\n'));
  const before = process.memoryUsage().rss;
  const report = readSegment(path, () => {});
  expect(report).toMatchObject({ lines: 3, damaged: 1, torn: false });
  expect(process.memoryUsage().rss - before).toBeLessThan(100e6);
});

it('what a journal says is never markup or script on the page', async () => {
  const evil = `</script><script>alert(1)</script><img src=x onerror="alert(2)">'"\``;
  const folder = campaignFolder(evil);
  const read = readCampaign(folder);
  if (read.kind === 'error') throw new Error(read.message);
  const { manifest, statistics } = read;
  const replayOf = (path: string) => `replay ${path} ${evil}`;
  const status = campaignStatus({ manifest, statistics, pathOf: (f) => f, replayOf });
  expect(status.findings).toHaveLength(1);
  const html = await campaignPage({
    ...{ manifest, status, statistics },
    smallest: new Map(),
    unreached: new Map([[evil, [evil]]]),
    problems: [evil],
  });
  expect(html).toContain('alert(1)'); // it is there, as text
  expect(html).not.toContain('<img');
  expect(html.match(/<script/g)).toHaveLength(2); // the data and the page's own
  expect(html).toContain("default-src 'none'");
});
