// sarif.ts - findings as SARIF 2.1.0, the format that code-scanning pages read. The
// location of a finding is the line of the kernel's source where an emulator knows it, else the
// file of the stored case; the fingerprint is its signature, by which a page recognises the same
// finding in the next run.

import type { SourceLine } from '../../properties/kernel.js';
import type { Campaign } from '../campaign/campaign.js';
import { caseText } from './failure.js';
import { localPath } from './local-path.js';

export interface Rule {
  readonly name: string;
  readonly statement: string;
}

export function sarifJson(campaign: Campaign, rules: readonly Rule[], version: string): string {
  const results = campaign.findings.map(({ finding, path, isNew }) => ({
    ruleId: finding.property,
    level: isNew ? 'error' : 'note',
    baselineState: isNew ? 'new' : 'unchanged',
    message: {
      text: `${finding.kernel}: ${finding.message}. ${caseText(finding.case)}. ${finding.replay}`,
    },
    partialFingerprints: { 'kvproof/1': `${finding.kernel} ${finding.signature}` },
    ...locationOf(finding.source, path),
  }));
  const driver = {
    name: 'kvproof',
    version,
    rules: rules.map(({ name, statement }) => ({
      id: name,
      shortDescription: { text: statement },
    })),
  };
  const log = {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [{ tool: { driver }, results }],
  };
  return `${JSON.stringify(log, null, 2)}\n`;
}

/** The line of the kernel's source where it is known, else the file of the stored case. */
function locationOf(source: SourceLine | null, path: string | null) {
  const file = source?.file ?? path;
  if (file === null) return {};
  const artifactLocation = { uri: encodeURI(localPath(file)) };
  const region = source === null ? {} : { region: { startLine: source.line } };
  return { locations: [{ physicalLocation: { artifactLocation, ...region } }] };
}
