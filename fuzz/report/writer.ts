// writer.ts - the only place that prints. Results go to the standard output, everything that is
// said on the way (progress, errors) to the error output, so that a result can be piped.

import { appendFileSync, rmSync, writeFileSync } from 'node:fs';

export function print(...lines: string[]): void {
  process.stdout.write(`${lines.join('\n')}\n`);
}

export function tell(...lines: string[]): void {
  process.stderr.write(`${lines.join('\n')}\n`);
}

/** Writes a report file; one sentence if it cannot. */
export function writeReport(option: string, path: string, text: string): string | null {
  return attempt(option, path, () => writeFileSync(path, text));
}

/** The same, behind what the file holds. */
export function appendReport(option: string, path: string, text: string): string | null {
  return attempt(option, path, () => appendFileSync(path, text));
}

/** A report of an earlier run may not be taken for this one's. */
export function removeReport(option: string, path: string): string | null {
  return attempt(option, path, () => rmSync(path, { force: true }));
}

function attempt(option: string, path: string, write: () => void): string | null {
  try {
    write();
    return null;
  } catch (error) {
    const reason = error instanceof Error ? error.message.split(', ')[0] : String(error);
    return `${option}: ${path} cannot be written (${reason})`;
  }
}
