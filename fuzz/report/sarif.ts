// sarif.ts - findings as SARIF 2.1.0, the format that code-scanning pages read. A finding has no
// line of source, so that its location is the file of the stored case; the fingerprint is its
// signature, by which a page recognises the same finding in the next run.

import { isAbsolute, relative } from 'node:path';
import type { Campaign } from '../campaign/campaign.js';
import { caseText } from './failure.js';

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
    ...(path === null
      ? {}
      : { locations: [{ physicalLocation: { artifactLocation: { uri: uriOf(path) } } }] }),
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

function uriOf(path: string): string {
  const local = isAbsolute(path) ? relative(process.cwd(), path) : path;
  return encodeURI(local.replaceAll('\\', '/'));
}
