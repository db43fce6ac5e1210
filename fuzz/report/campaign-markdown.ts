// campaign-markdown.ts - a campaign as the text of an issue: verdict, sums, and for each finding
// what somebody else needs to see it again. Known findings are counted and not told again.

import type { FindingStatus } from '../campaign/campaign-status.js';
import type { CampaignPage } from './campaign-page.js';
import { caseText, count, grouped } from './failure.js';
import { code, escaped } from './markdown.js';
import { duration, riskText } from './status-screen.js';

export function campaignMarkdown({ manifest, status, smallest }: CampaignPage): string {
  const { findings, cases, elements, activeMs, broken, residualRisk } = status;
  const red = findings.filter((finding) => finding.new);
  const known = findings.length - red.length;
  const kernels = status.kernels.map(({ kernel, devices }) => {
    const names = [...new Set(devices.map(({ name }) => name))].join(', ');
    return `${code(kernel)} on ${escaped(names === '' ? 'no device' : names)}`;
  });
  const risk = escaped(riskText(residualRisk.finding));
  return [
    `### kvproof campaign: ${verdict(red.length, cases)}`,
    '',
    `${kernels.join('; ')}: ${grouped(cases)} cases, ${grouped(elements)} elements, ` +
      `${duration(activeMs)}. Seed ${code(String(manifest.seed))}, ` +
      `shard ${escaped(manifest.shard)}, commit ${code(manifest.commit.slice(0, 12))}.`,
    '',
    `The next case shows a new failure with probability ${risk}.`,
    ...(known === 0 ? [] : ['', `${count(known, 'finding')} known before.`]),
    ...(broken === 0 ? [] : ['', `${count(broken, 'case')} could not be judged.`]),
    ...red.flatMap((finding) => findingSection(finding, smallest)),
    '',
  ].join('\n');
}

function verdict(red: number, cases: number): string {
  if (red > 0) return count(red, 'new finding');
  return cases === 0 ? 'no case ran, which is not a pass' : 'nothing new found';
}

function findingSection(
  { signature, kernel, message, replay, id, count: times }: FindingStatus,
  smallest: CampaignPage['smallest'],
): string[] {
  const c = smallest.get(id ?? '');
  return [
    '',
    `#### ${escaped(signature)}`,
    '',
    `${code(kernel)}, ${count(times, 'case')}: ${escaped(message)}`,
    ...(c === undefined ? [] : ['', `Smallest case: ${escaped(caseText(c))}`]),
    ...(replay === null ? [] : ['', `Again: ${code(replay)}`]),
  ];
}
