// shard-queue.ts - the shards of a campaign as jobs of BullMQ, for many machines and one Redis.
//
// Every machine runs the same command. A job's id is a hash of what it is about, so that whoever
// comes first adds the jobs and the others find them there. A machine that dies lets its lease run
// out and another one takes the shard; a shard that has lost its machine twice is not given to a
// third one but becomes a finding. The result of a job is its packed folder (shard-artifact.ts):
// BullMQ accepts one, from the holder of the lease, so that every shard is collected exactly once.
//
// bullmq and ioredis are optional packages, loaded here and nowhere else.

import type { Job, Queue as QueueType, Worker as WorkerType } from 'bullmq';

export interface ShardQueueOptions {
  readonly url: string;
  /** Hash of everything that decides what the shards are. */
  readonly name: string;
  readonly shards: number;
  /** A machine that is silent for longer has lost its shard. */
  readonly leaseMs: number;
  readonly interrupt: AbortSignal;
  /** Runs shard `index` (from 1) and gives its packed folder; an exception is an attempt. */
  readonly run: (index: number, progress: (cases: number) => void) => Promise<string>;
  readonly onNotice: (message: string) => void;
}

export interface CollectedShard {
  readonly index: number;
  /** null: the shard failed, and `reason` says how. */
  readonly packed: string | null;
  readonly reason: string;
  /** It killed the process that ran it, twice. */
  readonly isDeadly: boolean;
  /** Cases that were done when it was last heard of. */
  readonly cases: number;
}

export type ShardQueueResult =
  | { kind: 'collected'; shards: CollectedShard[]; ranHere: number }
  | { kind: 'error'; exitCode: 2 | 3; message: string };

/** Runs of a shard that end by an exception; a lost lease is counted apart. */
const ATTEMPTS = 3;
/** The first loss is the machine's, the second one the shard's. */
const LOSSES_ALLOWED = 1;
const POLL_MS = 500;
/** Results stay this long for those who come late. */
const KEPT_SECONDS = 14 * 24 * 3600;

const MISSING =
  'the packages bullmq and ioredis are not installed, which --queue needs: ' +
  'npm install bullmq ioredis';

interface Connection {
  readonly host: string;
  readonly port: number;
  readonly db: number;
  readonly username?: string;
  readonly password?: string;
  readonly tls?: object;
}

export async function runShardQueue(options: ShardQueueOptions): Promise<ShardQueueResult> {
  const connection = connectionOf(options.url);
  if (connection === null) {
    const message = `--queue: found ${JSON.stringify(options.url)}, required redis://HOST:PORT`;
    return { kind: 'error', exitCode: 2, message };
  }
  let bullmq: typeof import('bullmq');
  try {
    await import('ioredis');
    bullmq = await import('bullmq');
  } catch {
    return { kind: 'error', exitCode: 3, message: MISSING };
  }
  const trouble = await reach(connection);
  if (trouble !== null) {
    const where = `${connection.host}:${connection.port}`;
    return { kind: 'error', exitCode: 3, message: `--queue: ${where} is not reached (${trouble})` };
  }
  const queue = new bullmq.Queue(options.name, { connection: { ...connection } });
  queue.on('error', (error) => options.onNotice(`the queue says: ${firstLine(error)}`));
  try {
    await addShards(queue, options);
    return await workAndCollect(bullmq, queue, connection, options);
  } finally {
    await queue.close();
  }
}

function connectionOf(text: string): Connection | null {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return null;
  }
  const db = url.pathname.replace(/^\//, '') || '0';
  if (!/^rediss?:$/.test(url.protocol) || url.hostname === '' || !/^\d{1,4}$/.test(db)) return null;
  const { username, password } = url;
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? 6379 : Number(url.port),
    db: Number(db),
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) }),
    ...(url.protocol === 'rediss:' ? { tls: {} } : {}),
  };
}

/** One try, so that a wrong address is an error at once; later losses are retried. */
async function reach(connection: Connection): Promise<string | null> {
  const { Redis } = await import('ioredis');
  const client = new Redis({
    ...connection,
    lazyConnect: true,
    connectTimeout: 5_000,
    retryStrategy: () => null,
  });
  let last = '';
  client.on('error', (error) => {
    last = firstLine(error);
  });
  try {
    await client.connect();
    await client.ping();
    return null;
  } catch (error) {
    return last === '' ? firstLine(error) : last;
  } finally {
    client.disconnect();
  }
}

async function addShards(queue: QueueType, { name, shards }: ShardQueueOptions): Promise<void> {
  const jobs = Array.from({ length: shards }, (_, i) => ({
    name: 'shard',
    data: { index: i + 1, count: shards },
    opts: {
      jobId: `${name}-${i + 1}`, // one that is there already is left as it is
      attempts: ATTEMPTS,
      backoff: { type: 'exponential', delay: 1_000 },
      removeOnComplete: { age: KEPT_SECONDS },
      removeOnFail: { age: KEPT_SECONDS },
    },
  }));
  await queue.addBulk(jobs);
}

async function workAndCollect(
  { Worker }: typeof import('bullmq'),
  queue: QueueType,
  connection: Connection,
  options: ShardQueueOptions,
): Promise<ShardQueueResult> {
  let ranHere = 0;
  const worker: WorkerType = new Worker(
    options.name,
    async (job: Job) => {
      const packed = await options.run(Number(job.data.index), (cases) => {
        void job.updateProgress(cases).catch(() => {});
      });
      ranHere += 1;
      return packed;
    },
    {
      connection: { ...connection, maxRetriesPerRequest: null },
      concurrency: 1,
      lockDuration: options.leaseMs,
      stalledInterval: Math.max(500, options.leaseMs / 2),
      maxStalledCount: LOSSES_ALLOWED,
    },
  );
  worker.on('error', (error) => options.onNotice(`the queue says: ${firstLine(error)}`));
  worker.on('failed', (job, error) => {
    options.onNotice(`shard ${job?.data.index ?? '?'} failed: ${firstLine(error)}`);
  });
  try {
    while (!options.interrupt.aborted) {
      const counts = await queue.getJobCounts('completed', 'failed');
      if (counts.completed + counts.failed >= options.shards) break;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  } finally {
    // A shard that this machine still runs is given back by its lease.
    await worker.close(options.interrupt.aborted);
  }
  const shards: CollectedShard[] = [];
  for (let index = 1; index <= options.shards; index++) {
    const job = await queue.getJob(`${options.name}-${index}`);
    if (job !== undefined) shards.push(await collected(index, job));
  }
  return { kind: 'collected', shards, ranHere };
}

async function collected(index: number, job: Job): Promise<CollectedShard> {
  const state = await job.getState();
  const isDone = state === 'completed' && typeof job.returnvalue === 'string';
  const reason = isDone ? '' : (job.failedReason ?? `the shard is ${state}`);
  const cases = typeof job.progress === 'number' ? job.progress : 0;
  const packed = isDone ? (job.returnvalue as string) : null;
  return { index, packed, reason, isDeadly: /stalled more than/.test(reason), cases };
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0];
}
