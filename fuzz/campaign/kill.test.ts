// kill -9 at random moments, of the supervisor and of its workers: no case is lost or counted
// twice, no finding lost or doubled, every journal readable. A seed decides whom and when.
//
// KVPROOF_KILLS sets how many; README.md records a run with 200. The few of every check keep the
// ways open that the 200 have found.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { readCampaign } from './read-campaign.js';
import { streamOf } from './seed.js';

const KILLS = Number(process.env.KVPROOF_KILLS ?? 12);
/** A campaign that ends before the kills do is made longer by so many cases. */
const MORE = 24;
const script = fileURLToPath(new URL('./hostile-campaign.mjs', import.meta.url));

interface Session {
  readonly pid: number;
  readonly ended: Promise<number | null>;
}

function start(folder: string, runs: number): Session {
  const options = {
    ...{ kernel: 'hostile:wrong@150', folder, runs, workers: 2, mode: 'both' },
    properties: ['exact-codes'],
  };
  const child = spawn(process.execPath, [script, JSON.stringify(options)], { stdio: 'ignore' });
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  return { pid: child.pid as number, ended };
}

function childrenOf(pid: number): number[] {
  return readdirSync('/proc').flatMap((name) => {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      return parent === pid ? [Number(name)] : [];
    } catch {
      return [];
    }
  });
}

async function hasWorkers(pid: number): Promise<void> {
  while (existsSync(`/proc/${pid}`) && childrenOf(pid).length === 0) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has just ended by itself.
  }
}

const within = <T>(ended: Promise<T>, ms: number) =>
  Promise.race([ended, new Promise<'running'>((go) => setTimeout(() => go('running'), ms))]);

/** Findings as they must be whatever happened: all but times. */
function outcomeOf(folder: string) {
  const read = readCampaign(folder);
  if (read.kind === 'error') throw new Error(read.message);
  const { statistics, problems } = read;
  expect(problems).toEqual([]);
  const findings = [...statistics.findings.values()].map(
    ({ signature, state, count, index, hash, file, toldBy }) => {
      const path = join(folder, 'findings', file as string);
      const stored = JSON.parse(readFileSync(path, 'utf8'));
      const { firstSeen: _, lastSeen: __, replay: ___, ...kept } = stored;
      return { signature, state, count, index, hash, toldBy, stored: kept };
    },
  );
  const [kernel] = statistics.kernels.values();
  const files = readdirSync(join(folder, 'findings')).filter((name) => name.endsWith('.json'));
  const { repeated } = statistics;
  return { cases: kernel.cases, broken: kernel.broken, repeated, findings, files };
}

it(
  `${KILLS} kills change nothing`,
  async () => {
    const folder = () => join(mkdtempSync(join(tmpdir(), 'kvproof-kill-')), 'campaign');
    const random = streamOf(20261124, KILLS);
    const stormy = folder();
    let runs = MORE;
    let session = start(stormy, runs);
    const killed = { supervisor: 0, worker: 0 };
    while (killed.supervisor + killed.worker < KILLS) {
      // One kill in eight comes while the session starts, the others when it is at work.
      const isEarly = random.nextInt(0, 7) === 0;
      if (!isEarly) await Promise.race([session.ended, hasWorkers(session.pid)]);
      const pause = random.nextInt(20, 900);
      const end = await within(session.ended, pause);
      if (end === 0) runs += MORE;
      if (end !== 'running') {
        session = start(stormy, runs);
        continue;
      }
      const workers = childrenOf(session.pid);
      if (workers.length > 0 && random.nextInt(0, 1) === 0) {
        kill(workers[random.nextInt(0, workers.length - 1)]);
        killed.worker += 1;
      } else {
        kill(session.pid);
        killed.supervisor += 1;
        await session.ended;
        session = start(stormy, runs);
      }
    }
    while ((await session.ended) !== 0) session = start(stormy, runs);
    expect(killed.supervisor + killed.worker).toBe(KILLS);
    expect(Math.min(killed.supervisor, killed.worker)).toBeGreaterThan(KILLS / 5);

    const calm = folder();
    expect(await start(calm, runs).ended).toBe(0);
    const expected = outcomeOf(calm);
    expect(expected.cases + expected.broken).toBe(runs);
    expect(expected.findings.length).toBeGreaterThan(0);
    expect(outcomeOf(stormy)).toEqual(expected);
  },
  120_000 + 15_000 * KILLS,
);
