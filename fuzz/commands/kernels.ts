// kernels - what can be opened here and what each supports. Looking happens in worker processes,
// since even opening a kernel may end the process that does it. Mutants are listed but not opened:
// each would be compiled first.

import { headCommit } from '../campaign/package-root.js';
import { WorkerProcess } from '../campaign/worker-process.js';
import { kernelLines, type ListedKernel } from '../report/environment.js';
import { print, tell } from '../report/writer.js';
import { workdirFrom } from './arguments.js';

export async function kernels(flags: { json: boolean }): Promise<number> {
  const startedAt = Date.now();
  const workdir = workdirFrom('.kvproof');
  const listings = await WorkerProcess.list(workdir);
  if (listings.kind === 'error') {
    tell(`kvproof kernels: ${listings.message}`);
    return listings.exitCode;
  }
  const listed: ListedKernel[] = [];
  for (const listing of listings.kernels) {
    const opens = listing.available && !listing.uri.startsWith('mutant:');
    if (!opens) {
      listed.push({ ...listing, hello: null });
      continue;
    }
    const opened = await WorkerProcess.open({ uri: listing.uri, checked: false, workdir, slot: 0 });
    if (opened.kind === 'open') {
      await opened.worker.kill();
      listed.push({ ...listing, hello: opened.hello });
    } else {
      listed.push({ ...listing, available: false, detail: opened.message, hello: null });
    }
  }
  if (flags.json) {
    const result = {
      schema: 'kvproof.kernels/1',
      seed: null,
      kernel: null,
      device: null,
      commit: headCommit(process.cwd()),
      elapsedMs: Date.now() - startedAt,
      kernels: listed.map(({ uri, available, detail, hello }) => ({
        uri,
        available,
        detail,
        device: hello?.device ?? null,
        capabilities: hello?.capabilities ?? null,
      })),
    };
    print(JSON.stringify(result, null, 2));
  } else {
    print(...kernelLines(listed));
  }
  return 0;
}
