// fuzz.ts - what a campaign says when it begins, when it finds something, and when it ends.

import pc from 'picocolors';
import type { CampaignStatus, FindingStatus } from '../campaign/campaign-status.js';
import type { FoundFinding, FuzzResult, FuzzStarted } from '../campaign/fuzz-options.js';
import { count, grouped } from './failure.js';
import { duration, riskText, statusLine } from './status-screen.js';

export function fuzzStartLines({ manifest, planned, before }: FuzzStarted, folder: string) {
  const amount = planned === null ? 'cases until the time is over' : `${grouped(planned)} cases`;
  const resumed = before === 0 ? '' : `, ${grouped(before)} of them done before`;
  return [
    `seed ${manifest.seed}`,
    ...manifest.kernels.map(
      ({ name, device }) => `kernel ${name} (${device.name}, ${device.sm}, ${device.driver})`,
    ),
    `campaign ${manifest.id}, shard ${manifest.shard} in ${folder}: ${amount}${resumed}`,
  ];
}

export function foundLines(found: FoundFinding): string[] {
  const { kernel, state, signature, message, replay, link } = found;
  if (state === 'known')
    return [pc.dim(`known: ${signature} on ${kernel} (${link ?? 'baseline'})`)];
  const colour = state === 'flaky' ? pc.magenta : pc.red;
  return [
    `${colour(pc.bold(state.toUpperCase()))} ${signature} on ${kernel}: ${message}`,
    ...(replay === null || state === 'new' ? [] : [`  replay: ${pc.cyan(replay)}`]),
    ...(link === null ? [] : [`  a regression: ${link} was fixed`]),
  ];
}

export function fuzzEndLines(
  result: FuzzResult,
  status: CampaignStatus,
  exitCode: number,
): string[] {
  const { stopped, loss } = result;
  const ends: Record<FuzzResult['stopped'], string> = {
    finished: 'every planned case is done',
    time: 'the time is over',
    interrupt: 'interrupted; --resume goes on',
    loss: `the kernel cannot be opened any more (${loss?.message ?? ''})`,
  };
  return [
    '',
    ...status.findings.flatMap(findingLines),
    statusLine(status),
    `this session: ${grouped(result.cases)} cases in ${duration(result.elapsedMs)}, ` +
      ends[stopped],
    verdict(status, exitCode),
  ];
}

export function findingLines(finding: FindingStatus): string[] {
  const { state, signature, kernel, message, replay, link } = finding;
  const title = `${state.padEnd(9)} ${signature} on ${kernel}, ${count(finding.count, 'case')}`;
  return [
    finding.new ? pc.red(title) : pc.dim(title),
    ...(message === '' ? [] : [`  ${message}`]),
    ...(replay === null ? [] : [`  replay: ${pc.cyan(replay)}`]),
    ...(link === null ? [] : [`  ${link}`]),
  ];
}

function verdict({ findings, cases, broken, residualRisk }: CampaignStatus, exitCode: number) {
  const red = findings.filter((finding) => finding.new).length;
  if (red > 0) return pc.red(pc.bold(count(red, 'finding')));
  if (cases === 0) return pc.red(pc.bold('no case ran, which is not a pass'));
  if (broken > 0) return pc.red(pc.bold(`${count(broken, 'case')} could not be judged`));
  if (exitCode !== 0) return pc.red(pc.bold('the campaign is incomplete'));
  const risk = riskText(residualRisk.finding);
  return pc.green(pc.bold(`nothing found, residual risk ${risk} a case`));
}
