// A worker ends with its supervisor, also one that is gone before the worker begins.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { SUPERVISOR } from './process-tree.js';

const workerPath = fileURLToPath(new URL('./hostile-worker.mjs', import.meta.url));

it.each([
  ['gone', 'SIGKILL'],
  ['there', null],
])('whose supervisor is %s', async (supervisor, expected) => {
  const gone = spawnSync(process.execPath, ['-e', '0']).pid;
  const pid = supervisor === 'gone' ? gone : process.pid;
  const worker = spawn(process.execPath, [workerPath], {
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    env: { ...process.env, [SUPERVISOR]: String(pid) },
  });
  const calm = new Promise((resolve) => setTimeout(resolve, 5000, [null, null]));
  const ended = once(worker, 'exit');
  const [, signal] = (await (supervisor === 'gone' ? ended : Promise.race([ended, calm]))) as [
    number | null,
    string | null,
  ];
  worker.kill('SIGKILL');
  expect(signal).toBe(expected);
});
