// hostile-campaign.mjs - a campaign over the kernels of hostile-worker.mjs in a process of its own,
// for tests that kill the supervisor. Called with one JSON argument: {kernel, folder, runs,
// workers, properties, mode}, and {url, shards, leaseMs} where shards come from a queue.

import { fileURLToPath } from 'node:url';
import { runFuzz } from '../../dist/fuzz/campaign/fuzz-campaign.js';
import { Ledger } from '../../dist/fuzz/campaign/ledger.js';
import { PAIRS_MAX } from '../../dist/fuzz/campaign/plan.js';
import { runQueueCampaign } from '../../dist/fuzz/campaign/queue-campaign.js';
import { DEFAULT_LIMITS } from '../../dist/fuzz/campaign/worker-process.js';

const { kernel, folder, runs, workers, properties, mode, ...queue } = JSON.parse(process.argv[2]);
const quiet = { started() {}, changed() {}, found() {}, noticed() {} };
const options = {
  kernels: [kernel],
  ...{ checked: false, twin: undefined, seed: 1, defaultSeed: 1, shard: { index: 1, count: 1 } },
  ...{ folder, resume: true, corpus: null, ledger: Ledger.empty, isKnown: () => false },
  budget: { generated: runs, seconds: null },
  ...{
    workers,
    mode,
    batch: 8,
    fullOneIn: 1,
    pairsMax: PAIRS_MAX,
    properties,
    caseDeadlineMs: 10_000,
    shrinkMs: 30_000,
  },
  limits: DEFAULT_LIMITS,
  replayCommand: (path) => `replay ${path}`,
  interrupt: new AbortController().signal,
  events: quiet,
  workerPath: fileURLToPath(new URL('./hostile-worker.mjs', import.meta.url)),
};
if (queue.url === undefined) {
  const result = await runFuzz(options);
  process.exitCode = result.kind === 'fuzz' && result.stopped === 'finished' ? 0 : 3;
} else {
  const result = await runQueueCampaign({ ...options, ...queue });
  const { kind, ranHere, failed, message } = result;
  process.stdout.write(JSON.stringify({ kind, ranHere, failed, message }));
}
