// fuzz - a campaign: see fuzz/campaign/fuzz-campaign.ts for what runs and README.md for exit codes.
//
// With --json every line of the output is one JSON object of schema kvproof.fuzz/1 whose `event` is
// started, status (every 10 s), finding, notice or end; the last line is always `end`.

import { closeSync, openSync, writeSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { join } from 'node:path';
import { findingsFolder } from '../campaign/campaign-folder.js';
import { type CampaignStatus, campaignStatus } from '../campaign/campaign-status.js';
import type { Shard } from '../campaign/case-source.js';
import { numberOrText } from '../campaign/finding.js';
import { readBaseline } from '../campaign/finding-store.js';
import { runFuzz } from '../campaign/fuzz-campaign.js';
import type {
  FoundFinding,
  FuzzOptions,
  FuzzResult,
  FuzzStarted,
} from '../campaign/fuzz-options.js';
import { Ledger, readLedger } from '../campaign/ledger.js';
import { DEFAULT_LIMITS } from '../campaign/worker-process.js';
import { foundLines, fuzzEndLines, fuzzStartLines } from '../report/fuzz.js';
import { StatusScreen } from '../report/status-screen.js';
import { print, tell } from '../report/writer.js';
import {
  parseCount,
  parseSeconds,
  propertiesFrom,
  replayCommand,
  reportPath,
  seedFrom,
  UsageError,
} from './arguments.js';
import { interruptSignal } from './interrupt.js';

export const FUZZ_SCHEMA = 'kvproof.fuzz/1';

export interface FuzzFlags {
  kernel: string[];
  checked: boolean;
  twin?: string;
  property: string[];
  time?: string;
  runs?: string;
  seed?: string;
  workers?: string;
  shard: string;
  workdir: string;
  resume: boolean;
  corpus: string | false;
  ledger?: string;
  baseline?: string;
  processes: string;
  batch: string;
  fullOneIn: string;
  pairs: string;
  deadline: string;
  shrinkTime: string;
  memory?: string;
  queue?: string;
  shards: string;
  lease: string;
  json?: string | true;
}

const STATUS_MS = 10_000;
const FORTNIGHTS_SECONDS = 366 * 24 * 3600;

export async function fuzz(flags: FuzzFlags): Promise<number> {
  const options = await optionsFrom(flags);
  const output = new Output(flags, options);
  if (flags.queue !== undefined) return viaQueue(flags.queue, flags, options, output);
  const result = await runFuzz({ ...options, events: output });
  output.close();
  if (result.kind === 'error') {
    tell(`kvproof fuzz: ${result.message}`);
    output.refused(result);
    return result.exitCode;
  }
  const status = output.statusOf(result);
  const exitCode = exitCodeOf(result, status);
  output.end(result, status, exitCode);
  return exitCode;
}

async function viaQueue(
  url: string,
  flags: FuzzFlags,
  options: Omit<FuzzOptions, 'events'>,
  output: Output,
): Promise<number> {
  if (flags.runs === undefined) {
    throw new UsageError(
      '--queue: found no --runs, a number of cases that can be split is required',
    );
  }
  const shards = parseCount('--shards', flags.shards, 100_000);
  const leaseMs = 1000 * parseSeconds('--lease', flags.lease);
  if (options.shard.count > 1)
    throw new UsageError('--queue: hands out shards itself, without --shard');
  const { fuzzQueue } = await import('./fuzz-queue.js');
  try {
    return await fuzzQueue(
      { ...options, events: output, url, shards, leaseMs },
      flags.json === true,
    );
  } finally {
    output.close(); // its timer would keep the process alive
  }
}

/** 0 nothing found, 1 findings, 3 the campaign says nothing, 4 the device was lost. */
export function exitCodeOf({ stopped, loss }: FuzzResult, status: CampaignStatus): number {
  if (status.findings.some((finding) => finding.new)) return 1;
  if (stopped === 'loss' && loss !== null) return loss.exitCode;
  if (status.broken > 0 || stopped === 'interrupt') return 3;
  return status.cases > 0 ? 0 : 3;
}

async function optionsFrom(flags: FuzzFlags): Promise<Omit<FuzzOptions, 'events'>> {
  const { time, runs, workdir, corpus } = flags;
  const seconds = parseSeconds('--time', time ?? '60s', FORTNIGHTS_SECONDS);
  if (typeof flags.json === 'string') reportPath('--json', flags.json);
  const baseline = flags.baseline === undefined ? null : readBaseline(flags.baseline);
  if (baseline?.kind === 'error') throw new UsageError(baseline.message);
  const today = new Date().toISOString().slice(0, 10);
  const ledger = flags.ledger === undefined ? null : await readLedger(flags.ledger, today);
  if (ledger?.kind === 'error') throw new UsageError(ledger.message);
  const workers = workersOf(flags.workers);
  return {
    kernels: flags.kernel,
    checked: flags.checked,
    twin: flags.twin,
    seed: flags.seed === undefined ? null : seedFrom(flags.seed),
    defaultSeed: seedFrom(undefined),
    shard: shardFrom(flags.shard),
    folder: workdir,
    resume: flags.resume,
    corpus: corpus === false ? null : corpus,
    ledger: ledger?.ledger ?? Ledger.empty,
    isKnown: baseline?.has ?? (() => false),
    budget: {
      generated: runs === undefined ? null : parseCount('--runs', runs, 999_999_999),
      seconds: runs !== undefined && time === undefined ? null : seconds,
    },
    workers,
    mode: modeFrom(flags.processes),
    batch: parseCount('--batch', flags.batch, 1_000_000),
    fullOneIn: parseCount('--full-one-in', flags.fullOneIn, 1_000_000),
    pairsMax: parseCount('--pairs', flags.pairs, 1_000_000),
    properties: propertiesFrom(flags.property, flags.twin),
    caseDeadlineMs: 1000 * parseSeconds('--deadline', flags.deadline),
    shrinkMs: 1000 * parseSeconds('--shrink-time', flags.shrinkTime),
    limits: { ...DEFAULT_LIMITS, memoryBytes: memoryFrom(flags.memory, workers) },
    replayCommand: (path, kernel) => replayCommand(path, kernel, flags),
    interrupt: interruptSignal(),
  };
}

export function shardFrom(text: string): Shard {
  const match = /^([1-9]\d{0,5})\/([1-9]\d{0,5})$/.exec(text);
  const [index, count] = match === null ? [0, 0] : [Number(match[1]), Number(match[2])];
  if (match === null || index > count) {
    throw new UsageError(`--shard: "${text}" is not a shard such as 2/4, counted from 1`);
  }
  return { index, count };
}

/** As many as asked for: a campaign of sleepy kernels may want more than there are cores. */
function workersOf(text: string | undefined): number {
  return text === undefined ? availableParallelism() : parseCount('--workers', text, 256);
}

function modeFrom(text: string): FuzzOptions['mode'] {
  if (text === 'both' || text === 'fresh' || text === 'long') return text;
  throw new UsageError(`--processes: "${text}" is not one of long, fresh, both`);
}

const UNIT_BYTES: Readonly<Record<string, number>> = { m: 2 ** 20, g: 2 ** 30 };

/** Without the option: four fifths of the machine (or of the control group), shared equally. */
function memoryFrom(text: string | undefined, workers: number): number {
  if (text === undefined) {
    const constrained = process.constrainedMemory?.() ?? 0;
    const whole = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
    return Math.max(2 ** 30, (0.8 * whole) / workers);
  }
  const match = /^(\d+(?:\.\d+)?)([mg])$/i.exec(text);
  const bytes = match === null ? 0 : Number(match[1]) * UNIT_BYTES[match[2].toLowerCase()];
  if (!(bytes >= 2 ** 28)) {
    throw new UsageError(`--memory: "${text}" is not a size such as 512m or 4g, at least 256m`);
  }
  return bytes;
}

/** Screen or lines, text or JSON: what is said while a campaign runs. */
class Output {
  private readonly screen = new StatusScreen();
  private readonly descriptor: number | null;
  private begun: FuzzStarted | null = null;
  private timer: NodeJS.Timeout | null = null;
  private readonly startedAt = Date.now();

  constructor(
    private readonly flags: FuzzFlags,
    private readonly options: Omit<FuzzOptions, 'events'>,
  ) {
    const { json } = flags;
    this.descriptor = json === undefined ? null : json === true ? 1 : openSync(json, 'w');
  }

  started(started: FuzzStarted): void {
    this.close(); // of the shard before, with --queue
    this.begun = started;
    const { workers, budget } = this.options;
    const { manifest, planned, before } = started;
    const { startedAt } = this;
    const stopAt = budget.seconds === null ? null : startedAt + 1000 * budget.seconds;
    this.screen.begin({ seed: String(manifest.seed), workers, planned, before, startedAt, stopAt });
    this.text(...fuzzStartLines(started, this.options.folder));
    this.json('started', { planned, before, shard: manifest.shard });
    this.timer = setInterval(() => this.json('status', this.statusNow()), STATUS_MS);
  }

  changed(): void {
    if (this.begun !== null) this.screen.update(() => this.statusNow());
  }

  found(found: FoundFinding): void {
    this.json('finding', { finding: found });
    if (this.flags.json !== true) for (const line of foundLines(found)) this.screen.say(line);
  }

  noticed(message: string): void {
    this.json('notice', { message });
    this.screen.say(`kvproof fuzz: ${message}`);
  }

  statusOf({ manifest, statistics }: Pick<FuzzResult, 'manifest' | 'statistics'>): CampaignStatus {
    const folder = findingsFolder(this.options.folder);
    return campaignStatus({
      manifest,
      statistics,
      pathOf: (file) => join(folder, file),
      replayOf: this.options.replayCommand,
    });
  }

  close(): void {
    if (this.timer !== null) clearInterval(this.timer);
    this.screen.end();
  }

  end(result: FuzzResult, status: CampaignStatus, exitCode: number): void {
    const { stopped, cases, elapsedMs } = result;
    const session = { cases, elapsedMs, stopped };
    this.json('end', { exitCode, stopped, session, ...status });
    this.text(...fuzzEndLines(result, status, exitCode));
    if (this.descriptor !== null && this.descriptor !== 1) closeSync(this.descriptor);
  }

  refused({ exitCode, message }: { exitCode: number; message: string }): void {
    this.json('end', { exitCode, error: message });
  }

  private statusNow(): CampaignStatus {
    return this.statusOf(this.begun as FuzzStarted);
  }

  /** Text goes to the standard output unless JSON does. */
  private text(...lines: string[]): void {
    if (this.flags.json !== true) print(...lines);
  }

  private json(event: string, fields: object): void {
    if (this.descriptor === null) return;
    const { manifest } = this.begun ?? {};
    const common = {
      schema: FUZZ_SCHEMA,
      event,
      seed: manifest?.seed ?? null,
      kernel: manifest?.kernels.map(({ name }) => name).join(' ') ?? null,
      device: manifest?.kernels[0]?.device ?? null,
      commit: manifest?.commit ?? null,
      elapsedMs: Date.now() - this.startedAt,
    };
    const line = Buffer.from(`${JSON.stringify({ ...common, ...fields }, numberOrText)}\n`);
    for (let done = 0; done < line.length; ) done += writeSync(this.descriptor, line, done);
  }
}
