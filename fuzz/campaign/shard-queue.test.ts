// Many machines on one queue, with a real redis-server: a machine that is killed loses nothing, a
// shard that kills its machine twice is a finding, and what all of them did is the unsplit
// campaign.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readCampaign } from './read-campaign.js';
import { unpackShard } from './shard-artifact.js';
import { runShardQueue } from './shard-queue.js';

const script = fileURLToPath(new URL('./hostile-campaign.mjs', import.meta.url));
const made = (name: string) => join(mkdtempSync(join(tmpdir(), 'kvproof-queue-')), name);
// Without the server the tests of it are skipped; .ci/run installs it.
const hasRedis = spawnSync('redis-server', ['--version']).status === 0;

interface Machine {
  readonly child: ChildProcess;
  readonly ended: Promise<{ kind?: string; ranHere?: number; failed?: string[]; message?: string }>;
}

function machine(kernel: string, runs: number, folder: string, queue: object): Machine {
  const options = { kernel, folder, runs, workers: 1, mode: 'long', properties: ['exact-codes'] };
  const child = spawn(process.execPath, [script, JSON.stringify({ ...options, ...queue })], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  const ended = new Promise<Record<string, never>>((resolve) =>
    child.on('close', () => resolve(text === '' ? {} : JSON.parse(text))),
  );
  return { child, ended };
}

function campaignIn(folder: string) {
  const read = readCampaign(folder);
  if (read.kind === 'error') throw new Error(read.message);
  const { statistics, problems, segments } = read;
  const [kernel] = statistics.kernels.values();
  const findings = [...statistics.findings.values()]
    .map(({ signature, state, count, index, hash }) => ({ signature, state, count, index, hash }))
    .sort((a, b) => (a.signature < b.signature ? -1 : 1));
  return {
    sums: { cases: kernel.cases, elements: kernel.elements, findings },
    repeated: statistics.repeated,
    ...{ problems, segments: segments.length },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe.skipIf(!hasRedis)('with a redis-server', () => {
  let server: ChildProcess;
  let url = '';

  beforeAll(async () => {
    const port = await freePort();
    const dir = mkdtempSync(join(tmpdir(), 'kvproof-redis-'));
    const options = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--dir', dir];
    server = spawn('redis-server', options, { stdio: ['ignore', 'pipe', 'ignore'] });
    url = `redis://127.0.0.1:${port}`;
    await new Promise<void>((resolve) =>
      server.stdout?.on('data', (text) => {
        if (String(text).includes('Ready to accept connections')) resolve();
      }),
    );
  });

  afterAll(() => {
    server?.kill('SIGKILL');
  });

  it('three machines of which one is killed do every shard once', {
    timeout: 240_000,
  }, async () => {
    const queue = { url, shards: 6, leaseMs: 3_000 };
    const folders = [made('a'), made('b'), made('c')];
    const kernel = 'hostile:wrong@150';
    const [killed, ...others] = folders.map((folder) => machine(kernel, 18, folder, queue));
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    killed.child.kill('SIGKILL');
    const ends = await Promise.all(others.map(({ ended }) => ended));
    expect(ends.map(({ kind, failed }) => ({ kind, failed }))).toEqual([
      { kind: 'queue', failed: [] },
      { kind: 'queue', failed: [] },
    ]);
    const alone = made('alone');
    await machine(kernel, 18, alone, {}).ended;
    const expected = campaignIn(alone).sums;
    for (const folder of folders.slice(1)) {
      const { sums, repeated, problems } = campaignIn(join(folder, 'merged'));
      expect(problems).toEqual([]);
      expect(repeated).toBe(0);
      expect(sums).toEqual(expected);
    }
    const ran = ends.reduce((sum, { ranHere = 0 }) => sum + ranHere, 0);
    expect(ran).toBeGreaterThan(0);
    expect(ran).toBeLessThanOrEqual(6);
  });

  it('a shard that has ended two machines is a finding', { timeout: 240_000 }, async () => {
    // Shards of one case each, some of which take the machine along; it starts again every time.
    const queue = { url, shards: 4, leaseMs: 1_500 };
    const folder = made('deadly');
    let deaths = 0;
    let end: Awaited<Machine['ended']> = {};
    for (; end.kind === undefined; deaths += end.kind === undefined ? 1 : 0) {
      end = await machine('hostile:kill-parent@150', 4, folder, queue).ended;
    }
    expect(end.kind).toBe('queue');
    const { sums } = campaignIn(join(folder, 'merged'));
    const { failed = [] } = end;
    expect(failed.length).toBeGreaterThan(0);
    expect(deaths).toBe(2 * failed.length);
    expect(sums.cases).toBe(4 - failed.length);
    const shards = failed.map(
      (sentence) => /^shard (\d+) of 4: .*stalled more/.exec(sentence)?.[1],
    );
    expect(sums.findings.map(({ signature, state }) => ({ signature, state }))).toEqual(
      shards.map((shard) => {
        return { signature: `run/shard-lost/${shard}-of-4`, state: 'confirmed' };
      }),
    );
  });
});

describe('without a server', () => {
  const options = { name: 'kvproof-x', shards: 1, leaseMs: 1_000 };
  const rest = { interrupt: new AbortController().signal, run: async () => '', onNotice: () => {} };

  it('a wrong address is one sentence', async () => {
    const wrong = await runShardQueue({ url: 'http://nowhere', ...options, ...rest });
    expect(wrong).toMatchObject({ kind: 'error', exitCode: 2 });
    const url = `redis://:secret@127.0.0.1:${await freePort()}`;
    const silent = await runShardQueue({ url, ...options, ...rest });
    expect(silent).toMatchObject({ kind: 'error', exitCode: 3 });
    expect(JSON.stringify(silent)).toContain('is not reached');
    expect(JSON.stringify(silent)).not.toContain('secret');
  });

  it('a packed shard writes nothing outside its folder', () => {
    const folder = made('shard');
    const outside = join(folder, '..', 'outside.json');
    writeFileSync(outside, 'untouched');
    const pack = (files: unknown) => gzipSync(JSON.stringify(files)).toString('base64');
    for (const path of [
      '../outside.json',
      'findings/../../outside.json',
      '/tmp/x',
      'journal/x.sh',
    ]) {
      expect(unpackShard(pack({ [path]: 'x' }), folder)).toContain('no file of a campaign');
    }
    expect(unpackShard('no gzip', folder)).toContain('is no packed shard');
    expect(unpackShard(pack({ 'campaign.json': 7 }), folder)).toContain('no file of a campaign');
    expect(readFileSync(outside, 'utf8')).toBe('untouched');
    expect(unpackShard(pack({ 'campaign.json': '{}' }), folder)).toBeNull();
  });
});
