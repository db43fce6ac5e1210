// fuzz-options.ts - what a campaign is told, and what it tells while it runs. Types only.

import type { CampaignStatistics } from './campaign-statistics.js';
import type { Shard } from './case-source.js';
import type { FindingState } from './journal.js';
import type { Ledger } from './ledger.js';
import type { Manifest } from './manifest.js';
import type { Seed } from './seed.js';
import type { WorkerLimits } from './worker-process.js';

/** long: a process lives as long as it can; fresh: one for each batch; both: lanes take turns. */
export type ProcessMode = 'both' | 'fresh' | 'long';

export interface FuzzOptions {
  /** URIs; "cuda:*" is every GPU of the host. Empty: the GPUs, or sim:sm_90 where none answers. */
  readonly kernels: readonly string[];
  readonly checked: boolean;
  readonly twin: string | undefined;
  /** null: that of the campaign which is gone on with, else the default. */
  readonly seed: Seed | null;
  readonly defaultSeed: Seed;
  readonly shard: Shard;
  readonly folder: string;
  readonly resume: boolean;
  /** Stored cases: a folder, read when the campaign begins. null: none, not even the seeds. */
  readonly corpus: string | null;
  readonly ledger: Ledger;
  /** Known failures as in verify; the property and the signature count. */
  readonly isKnown: (property: string, signature: string) => boolean;
  readonly budget: {
    /** Generated cases of each kernel, over all shards; null: no end. */
    readonly generated: number | null;
    readonly seconds: number | null;
  };
  readonly workers: number;
  readonly mode: ProcessMode;
  /** Cases of a process in fresh mode. */
  readonly batch: number;
  readonly properties: readonly string[] | null;
  /**
   * One generated case in so many is judged by all properties, the others by the native reference
   * (sweep.ts); 1: every one.
   */
  readonly fullOneIn: number;
  /** Of a token and a query head, that a generated case has at most (plan.ts). */
  readonly pairsMax: number;
  readonly caseDeadlineMs: number;
  readonly shrinkMs: number;
  readonly limits: WorkerLimits;
  readonly replayCommand: (path: string, kernel: string) => string;
  readonly interrupt: AbortSignal;
  readonly events: FuzzEvents;
  readonly workerPath?: string;
}

export interface FuzzEvents {
  /** Before the first case. `statistics` grows while the campaign runs. */
  started(started: FuzzStarted): void;
  /** After every case and every other thing that happened. */
  changed(): void;
  found(found: FoundFinding): void;
  /** Something that a person may want to know; one sentence. */
  noticed(message: string): void;
}

export interface FuzzStarted {
  readonly manifest: Manifest;
  readonly statistics: CampaignStatistics;
  /** Cases of this shard; null: no end. */
  readonly planned: number | null;
  /** Cases that earlier sessions have done. */
  readonly before: number;
}

export interface FoundFinding {
  readonly kernel: string;
  readonly property: string;
  readonly signature: string;
  readonly message: string;
  readonly state: FindingState;
  readonly path: string | null;
  readonly replay: string | null;
  readonly link: string | null;
}

export interface FuzzResult {
  readonly kind: 'fuzz';
  readonly manifest: Manifest;
  readonly statistics: CampaignStatistics;
  readonly stopped: 'finished' | 'time' | 'interrupt' | 'loss';
  /** The last word of a kernel that could not be opened any more. */
  readonly loss: { readonly exitCode: 3 | 4; readonly message: string } | null;
  /** Of this session, without those that earlier sessions had done. */
  readonly cases: number;
  readonly elapsedMs: number;
}

export type FuzzEnd = FuzzResult | { kind: 'error'; exitCode: 2 | 3 | 4; message: string };
