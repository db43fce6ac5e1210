// worker.ts - the entry point of a worker process (see serve.ts): real kernels, the real corpus.

import { listKernels, openKernel } from '../kernels/open.js';
import { codeLmSource } from './code-lm.js';
import { serve } from './serve.js';

serve({ open: openKernel, list: listKernels, source: codeLmSource() });
