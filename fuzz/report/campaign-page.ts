// campaign-page.ts - the report of a campaign: one HTML file that can be mailed, opened on a phone
// and printed. What must be seen first comes first: verdict, sums, findings with their replay
// command; then figures, coverage, properties, and what went wrong with machine or journal.

import type { Case } from '../../properties/case.js';
import { canonicalJson } from '../../properties/case.js';
import type { CampaignStatistics } from '../campaign/campaign-statistics.js';
import type { CampaignStatus, FindingStatus } from '../campaign/campaign-status.js';
import type { Manifest } from '../campaign/manifest.js';
import { campaignFigures } from './campaign-figures.js';
import { caseText, count, grouped, significant } from './failure.js';
import { figureSvg } from './figure.js';
import { dataElement, page, table, text } from './html.js';
import { duration, riskText } from './status-screen.js';

export interface CampaignPage {
  readonly manifest: Manifest;
  readonly status: CampaignStatus;
  readonly statistics: CampaignStatistics;
  /** Smallest case of a finding, by its id. */
  readonly smallest: ReadonlyMap<string, Case>;
  readonly unreached: ReadonlyMap<string, readonly string[]>;
  readonly problems: readonly string[];
}

/** A longer list helps nobody on a page; `kvproof status --unreached` has them all. */
const UNREACHED_SHOWN = 200;
const EVENTS_SHOWN = 200;

export async function campaignPage(data: CampaignPage): Promise<string> {
  const { manifest, status, statistics } = data;
  const title = `kvproof campaign ${manifest.id}`;
  const figures = await Promise.all(
    campaignFigures(statistics).map(async ({ spec, caption }) => {
      const svg = await figureSvg(spec);
      return `<figure>${svg}<figcaption>${text(caption)}</figcaption></figure>`;
    }),
  );
  return page(
    title,
    [
      header(data),
      tiles(data),
      findings(data),
      `<h2>How it went</h2><div class="figures">${figures.join('\n')}</div>`,
      coverage(data),
      properties(status),
      troubles(data),
      dataElement('campaign', { manifest, status }),
    ].join('\n'),
  );
}

function header({ manifest, status, statistics }: CampaignPage): string {
  const kernels = status.kernels.map(({ kernel, devices }) => {
    const names = [...new Set(devices.map(({ name }) => name))].join(', ');
    return `${text(kernel)} on ${text(names === '' ? 'no device yet' : names)}`;
  });
  const when = (at: number) => `${new Date(at).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
  const times =
    statistics.lastAt === 0 ? '' : `${when(statistics.firstAt)} to ${when(statistics.lastAt)}, `;
  return `<header><h1>${kernels.join('; ')}</h1>
<div class="soft">campaign ${text(manifest.id)}, seed ${text(manifest.seed)}, ${text(times)}shard
${text(manifest.shard)}, commit ${text(manifest.commit.slice(0, 12))}</div></header>
${verdict(status)}`;
}

function verdict({ findings: all, cases, residualRisk, activeMs }: CampaignStatus): string {
  const red = all.filter((finding) => finding.new).length;
  const say = (colour: string, words: string) => `<p class="verdict ${colour}">${text(words)}</p>`;
  if (red > 0) return say('red', `${count(red, 'finding')} in ${count(cases, 'case')}`);
  if (cases === 0) return say('red', 'no case ran, which is not a pass');
  const risk = riskText(residualRisk.finding);
  return say(
    'green',
    `nothing found in ${grouped(cases)} cases and ${duration(activeMs)}: ` +
      `the next case shows a new failure with probability ${risk}`,
  );
}

function tiles({ status }: CampaignPage): string {
  const { cases, elements, casesPerSecond, activeMs, sinceLastFindMs, residualRisk } = status;
  const reached = status.kernels.reduce((sum, { coverage: { reached: n } }) => sum + n, 0);
  const total = status.kernels.reduce((sum, { coverage: { total: n } }) => sum + n, 0);
  const shown: [string, string][] = [
    ['cases', grouped(cases)],
    ['cases a second', casesPerSecond.toFixed(1)],
    ['running', duration(activeMs)],
    ['elements compared', compact(elements)],
    ['coverage cells', `${grouped(reached)} of ${grouped(total)}`],
    ['since the last find', sinceLastFindMs === null ? 'none' : duration(sinceLastFindMs)],
    ['a new failure in the next case, at most', limitText(residualRisk.finding?.limit)],
    ['could not be judged', grouped(status.broken)],
  ];
  const body = shown.map(
    ([label, value]) => `<div class="tile"><b>${text(value)}</b>${text(label)}</div>`,
  );
  return `<div class="tiles">${body.join('')}</div>`;
}

function limitText(limit: number | undefined): string {
  return limit === undefined ? 'unknown' : significant(Number(limit.toPrecision(2)));
}

/** 12.3 G instead of 12345678901. */
function compact(n: number): string {
  const units = ['', ' k', ' M', ' G', ' T', ' P'];
  const power = n < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(n) / 3));
  return power === 0 ? String(n) : `${(n / 1000 ** power).toFixed(1)}${units[power]}`;
}

function findings({ status, smallest }: CampaignPage): string {
  const all = [...status.findings].sort((a, b) => Number(b.new) - Number(a.new));
  if (all.length === 0) return '<h2>Findings</h2><p>None.</p>';
  const rows = all.map((finding) => [
    { html: stateHtml(finding) },
    { html: `<a href="#${anchor(finding)}">${text(finding.signature)}</a>` },
    { html: text(finding.kernel) },
    { html: grouped(finding.count), key: finding.count },
    { html: grouped(finding.index), key: finding.index },
    { html: text(new Date(finding.firstAt).toISOString().slice(0, 19)), key: finding.firstAt },
  ]);
  const columns = [
    { title: 'state' },
    { title: 'signature' },
    { title: 'kernel' },
    { title: 'cases', numeric: true },
    { title: 'first in the plan', numeric: true },
    { title: 'first seen', numeric: true },
  ];
  const cards = all.map((finding) => card(finding, smallest.get(finding.id ?? '')));
  return `<h2>Findings</h2>${table(columns, rows)}${cards.join('\n')}`;
}

const anchor = ({ kernel, signature }: FindingStatus) =>
  `f-${Buffer.from(`${kernel} ${signature}`).toString('hex').slice(0, 120)}`;

function stateHtml({ state, new: red }: FindingStatus): string {
  const colour = !red ? 'soft' : state === 'flaky' ? 'amber' : 'red';
  return `<b class="${colour}">${text(state)}</b>`;
}

function card(finding: FindingStatus, c: Case | undefined): string {
  const { signature, kernel, message, replay, link } = finding;
  const command =
    replay === null
      ? ''
      : `<button type="button" class="copy" data-text="${text(replay)}">copy</button>
<pre>${text(replay)}</pre>`;
  const stored =
    c === undefined
      ? ''
      : `<div>${text(caseText(c))}</div>
<details><summary>the case as data</summary>
<pre>${text(shortened(canonicalJson(c)))}</pre></details>`;
  // A link is a link only if it leads to the web: "javascript:" would be a script.
  const isWeb = link !== null && /^https?:\/\//.test(link);
  const known =
    link === null ? '' : isWeb ? `<a href="${text(link)}">${text(link)}</a>` : text(link);
  return `<section class="finding" id="${anchor(finding)}">
<h3>${stateHtml(finding)} ${text(signature)} <span class="soft">on ${text(kernel)},
${text(count(finding.count, 'case'))}</span></h3>
<div>${text(message)}</div>${command}${stored}${known}</section>`;
}

const shortened = (json: string) => (json.length > 4000 ? `${json.slice(0, 4000)} ...` : json);

/** Cells are points of a product of axes; for people each axis is shown by itself. */
function coverage({ statistics, status, unreached }: CampaignPage): string {
  const sections = status.kernels.map(({ kernel, coverage: { reached, total } }) => {
    const sums = statistics.kernelOf({ kernel });
    const axes = new Map<string, Map<string, number>>();
    for (const [cell, times] of sums.cells) {
      for (const [axis, value] of axesOf(cell)) {
        const values = axes.get(axis) ?? new Map<string, number>();
        axes.set(axis, values);
        values.set(value, (values.get(value) ?? 0) + times);
      }
    }
    const rows = [...axes].flatMap(([axis, values]) =>
      [...values]
        .sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }))
        .map(([value, times]) => [
          { html: text(axis) },
          { html: text(value) },
          { html: grouped(times), key: times },
        ]),
    );
    const columns = [
      { title: 'axis' },
      { title: 'value' },
      { title: 'times reached', numeric: true },
    ];
    const percent = total === 0 ? 0 : (100 * reached) / total;
    const left = unreached.get(kernel) ?? [];
    const listed = left.slice(0, UNREACHED_SHOWN).map(text).join('\n');
    const more = left.length > UNREACHED_SHOWN ? `\n${left.length - UNREACHED_SHOWN} more` : '';
    return `<p><b>${text(kernel)}</b>: ${grouped(reached)} of ${grouped(total)} cells,
${percent.toFixed(1)} %</p>
<details><summary>by axis</summary>${table(columns, rows)}</details>
<details><summary>${grouped(left.length)} cells not reached</summary>
<pre>${listed}${more}</pre></details>`;
  });
  return `<h2>Coverage</h2>${sections.join('\n')}`;
}

function axesOf(cell: string): [string, string][] {
  const names = ['bits', 'group', 'K axis', 'head size', 'query heads a KV head', 'length'];
  const parts = cell.split('/');
  const last = parts.at(-1) ?? '';
  const axes = parts.slice(0, -1).map((value, i): [string, string] => [names[i] ?? `${i}`, value]);
  return [...axes, [`values of ${last.split(':')[0]}`, last.split(':')[1] ?? '']];
}

function properties({ kernels }: CampaignStatus): string {
  const rows = kernels.flatMap(({ kernel, properties: own }) =>
    own.map((row) => [
      { html: text(row.name) },
      { html: text(kernel) },
      { html: grouped(row.judged), key: row.judged },
      { html: grouped(row.pass), key: row.pass },
      { html: row.fail > 0 ? `<b class="red">${grouped(row.fail)}</b>` : '0', key: row.fail },
      { html: grouped(row.unsupported), key: row.unsupported },
      {
        html: row.largestRatio === 0 ? '-' : significant(row.largestRatio),
        key: row.largestRatio,
      },
    ]),
  );
  const numeric = true;
  const columns = [
    { title: 'property' },
    { title: 'kernel' },
    { title: 'judged', numeric },
    { title: 'pass', numeric },
    { title: 'fail', numeric },
    { title: 'unsupported', numeric },
    { title: 'largest error/bound', numeric },
  ];
  return `<h2>Properties</h2>${table(columns, rows)}`;
}

function troubles({ problems, statistics }: CampaignPage): string {
  const events = statistics.events
    .slice(-EVENTS_SHOWN)
    .map(({ at, event, kernel, message }) => [
      { html: text(new Date(at).toISOString().slice(0, 19)), key: at },
      { html: text(event) },
      { html: text(kernel) },
      { html: text(message) },
    ]);
  const columns = [
    { title: 'when', numeric: true },
    { title: 'event' },
    { title: 'kernel' },
    { title: '' },
  ];
  const notes = problems.map((problem) => `<li>${text(problem)}</li>`).join('');
  const listed = notes === '' ? '' : `<ul>${notes}</ul>`;
  if (events.length === 0 && listed === '') return '';
  const shown = events.length === 0 ? '' : table(columns, events);
  return `<h2>Machine and journals</h2>${listed}${shown}`;
}
