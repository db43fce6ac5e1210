// What a build says while it runs: minutes without a word look like a hang.
import { spawn } from 'node:child_process';

/**
 * How far make ("[ 45%] Building ...") or ninja ("[12/48] Building ...") last said that it is, in
 * percent; null: neither has begun. @returns {number | null}
 */
export function percentOf(/** @type {string} */ log) {
  const last = [...log.matchAll(/^\[\s*(\d+)(?:%|\/(\d+))\]/gm)].at(-1);
  if (last === undefined) return null;
  return last[2] === undefined
    ? Number(last[1])
    : Math.floor((100 * Number(last[1])) / Number(last[2]));
}

/**
 * Runs a program to its end and tells `say` every `everyMs` how far it is.
 * @param {string} program
 * @param {readonly string[]} args
 * @param {import('node:child_process').SpawnOptionsWithoutStdio} options
 * @param {number} everyMs
 * @param {(line: string) => void} say
 * @returns {Promise<{status: number | null, log: string}>} status null: it could not be run or was killed
 */
export function runTelling(program, args, options, everyMs, say) {
  const started = Date.now();
  let log = '';
  const child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      log += text;
    });
  }
  const timer = setInterval(() => {
    const seconds = Math.round((Date.now() - started) / 1000);
    say(`${percentOf(log) ?? 0} % built, ${seconds} s`);
  }, everyMs);
  return new Promise((resolve) => {
    const end = (/** @type {number | null} */ status) => {
      clearInterval(timer);
      resolve({ status, log });
    };
    child.on('error', (error) => {
      log += `ERR! ${error.message}\n`;
      end(null);
    });
    child.on('close', end);
  });
}
