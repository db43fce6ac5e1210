// writer.ts - the only place that prints. Results go to the standard output, everything that is
// said on the way (progress, errors) to the error output, so that a result can be piped.

import { writeFileSync } from 'node:fs';

export function print(...lines: string[]): void {
  process.stdout.write(`${lines.join('\n')}\n`);
}

export function tell(...lines: string[]): void {
  process.stderr.write(`${lines.join('\n')}\n`);
}

/** Writes a report file; one sentence if it cannot. */
export function writeReport(option: string, path: string, text: string): string | null {
  try {
    writeFileSync(path, text);
    return null;
  } catch (error) {
    const reason = error instanceof Error ? error.message.split(', ')[0] : String(error);
    return `${option}: ${path} cannot be written (${reason})`;
  }
}
