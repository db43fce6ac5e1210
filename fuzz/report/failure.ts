// failure.ts - the report of one finding, always in the same order: verdict; replay command; worst
// element; the case as it was shrunk, and by how much; seed, position and commit; hints.

import pc from 'picocolors';
import { type Case, caseHash } from '../../properties/case.js';
import type { Worst } from '../../properties/property.js';
import type { Recipe } from '../../properties/recipe.js';
import type { ReportedFinding } from '../campaign/reported-finding.js';

export function failureReport(reported: ReportedFinding): string[] {
  const { finding, originalCase } = reported;
  const verdict = `${finding.property} fails on ${finding.kernel}, case ${caseHash(finding.case)}`;
  return [
    `${pc.red(pc.bold('FAIL'))} ${pc.bold(verdict)}`,
    `  ${finding.signature}: ${finding.message}`,
    ...(finding.replay === '' ? [] : [`  replay: ${pc.cyan(finding.replay)}`]),
    ...(finding.worst === null ? [] : [`  worst:  ${worstText(finding.worst)}`]),
    `  case:   ${caseText(finding.case)}`,
    `  ${shrinkText(finding, originalCase)}`,
    `  seed ${finding.original.seed}, case ${finding.original.index} of the plan ` +
      `(${finding.original.origin}), commit ${finding.commit.slice(0, 12)}`,
    ...hints(reported).map((hint) => pc.dim(`  hint: ${hint}`)),
  ];
}

export function worstText({ tensor, index, value, reference, bound, ratio }: Worst): string {
  const times = Number.isFinite(ratio)
    ? `${significant(ratio)} times the bound`
    : 'outside any bound';
  return (
    `${tensor}[${index.join(', ')}] = ${value}, reference ${reference}, ` +
    `bound ${significant(bound)}, error ${times}`
  );
}

/** A case in one line for people. */
export function caseText({ problem, scheme, tensors, options }: Case): string {
  const { tokens, queryHeads, kvHeads } = problem;
  const shown = tokens.slice(0, 8).join(', ') + (tokens.length > 8 ? ', ...' : '');
  const scale = `softmax scale ${significant(options.softmaxScale)}`;
  return [
    `${count(tokens.length, 'request')} (tokens ${shown})`,
    `${count(queryHeads, 'query head')} on ${count(kvHeads, 'KV head')}`,
    `${scheme.bits} bits, group ${scheme.group}, K by ${scheme.kAxis}`,
    `q ${recipeText(tensors.q)}, k ${recipeText(tensors.k)}, v ${recipeText(tensors.v)}`,
    options.splits === 0 ? scale : `${scale}, ${count(options.splits, 'split')}`,
  ].join('; ');
}

function recipeText(recipe: Recipe): string {
  if (recipe.distribution === 'literal') return 'literal';
  if (recipe.distribution === 'code-lm') return `code-lm layer ${recipe.layer}`;
  const scale = recipe.scale === 0 ? '' : ` * 2^${recipe.scale}`;
  const offset = recipe.offset === 0 ? '' : ` + ${recipe.offset}`;
  return `${recipe.distribution}${offset}${scale}`;
}

function shrinkText(finding: ReportedFinding['finding'], originalCase: Case): string {
  const { steps, tries, smallest } = finding.shrink;
  const from = `${sizeText(originalCase)}`;
  if (steps === 0) return `not shrunk: ${count(tries, 'smaller case')} tried, none fails so`;
  const end = smallest ? 'nothing smaller fails' : 'stopped by the time limit';
  const to = sizeText(finding.case);
  return `shrunk from ${from} to ${to} in ${count(steps, 'step')} of ${tries} tries, ${end}`;
}

function sizeText({ problem }: Case): string {
  const { tokens, queryHeads, kvHeads } = problem;
  const sum = tokens.reduce((total, n) => total + n, 0);
  return `${tokens.length}x${queryHeads}/${kvHeads} heads, ${count(sum, 'token')}`;
}

function hints({ finding, count: cases, isNew, unwritten }: ReportedFinding): string[] {
  const { signature, shrink } = finding;
  return [
    ...(unwritten === null ? [] : [`the finding was not stored: ${unwritten}`]),
    ...(cases > 1 ? [`${cases} cases of this run fail in this way`] : []),
    ...(isNew ? [] : ['known: the baseline has this failure, so it is not counted']),
    ...(signature.startsWith('run/flaky/')
      ? ['the kernel is not deterministic or depends on what ran before; try --workers 1']
      : []),
    ...(signature === 'run/timeout' ? ['--deadline sets the seconds that a case may take'] : []),
    ...(signature.startsWith('run/crash/SIGKILL')
      ? ['SIGKILL from outside is often the machine running out of memory; try fewer --workers']
      : []),
    ...(!shrink.smallest && shrink.steps > 0
      ? ['`kvproof shrink` with a longer --time may find a smaller case']
      : []),
  ];
}

export function count(n: number, noun: string): string {
  return `${grouped(n)} ${noun}${n === 1 ? '' : 's'}`;
}

/** 1234567 as 1,234,567, whatever the locale. */
export function grouped(n: number): string {
  return String(n).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** Four digits, plain where that is short. */
export function significant(x: number): string {
  if (!Number.isFinite(x) || x === 0) return String(x);
  const magnitude = Math.abs(x);
  return magnitude >= 1e-3 && magnitude < 1e6
    ? String(Number(x.toPrecision(4)))
    : x.toExponential(3);
}
