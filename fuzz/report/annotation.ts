// annotation.ts - findings as workflow commands of GitHub Actions, which show them beside a change:
// at the line of the kernel's source where an emulator knows it, else at the stored case.

import type { ReportedFinding } from '../campaign/reported-finding.js';
import { caseText } from './failure.js';
import { localPath } from './local-path.js';

export function annotations(findings: readonly ReportedFinding[]): string[] {
  return findings.map(({ finding, isNew, path }) => {
    const level = isNew ? 'error' : 'notice';
    const title = property(`${finding.property} on ${finding.kernel}`);
    const { source } = finding;
    const place =
      source !== null
        ? `file=${property(localPath(source.file))},line=${source.line},`
        : path === null
          ? ''
          : `file=${property(localPath(path))},`;
    const text = `${finding.message}\n${caseText(finding.case)}\n${finding.replay}`;
    return `::${level} ${place}title=${title}::${message(text)}`;
  });
}

// Escapes of the workflow commands: a message may not break its line, a property also not its list.
function message(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
}

function property(text: string): string {
  return message(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
}
