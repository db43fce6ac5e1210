// annotation.ts - findings as workflow commands of GitHub Actions, which show them beside a change.

import type { ReportedFinding } from '../campaign/reported-finding.js';
import { caseText } from './failure.js';

export function annotations(findings: readonly ReportedFinding[]): string[] {
  return findings.map(({ finding, isNew, path }) => {
    const level = isNew ? 'error' : 'notice';
    const title = property(`${finding.property} on ${finding.kernel}`);
    const file = path === null ? '' : `file=${property(path)},`;
    const text = `${finding.message}\n${caseText(finding.case)}\n${finding.replay}`;
    return `::${level} ${file}title=${title}::${message(text)}`;
  });
}

// Escapes of the workflow commands: a message may not break its line, a property also not its list.
function message(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
}

function property(text: string): string {
  return message(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
}
