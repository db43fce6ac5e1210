// check-worker.ts - checkHead on a thread of its own: reads one check, answers and ends.

import { parentPort, workerData } from 'node:worker_threads';
import { checkHead, type HeadCheck } from './check-head.js';

parentPort?.postMessage(checkHead(workerData as HeadCheck));
