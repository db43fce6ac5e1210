// The order of cases on a mutant: a function of the seed, apart for the two builds.

import { expect, it } from 'vitest';
import { type Case, canonicalJson } from '../../properties/case.js';
import { firstLook, parseCase, propertiesFor } from '../../properties/index.js';
import { ReferenceKernel } from '../../properties/reference-kernel.js';
import { firstLookOf, HuntPlan } from './hunt-plan.js';
import type { Build } from './result.js';

const { capabilities } = new ReferenceKernel();
const LENGTH = 96;
const planned = (build: Build, seed = 1) => {
  const plan = new HuntPlan(capabilities, seed, build);
  return Array.from({ length: LENGTH }, (_, i) => plan.at(i));
};

it('equal seeds give equal plans, and the checked build draws other cases', () => {
  const plain = planned('plain');
  expect(planned('plain').map(({ hash }) => hash)).toEqual(plain.map(({ hash }) => hash));
  const drawn = plain.filter(({ origin }) => origin === 'generated').map(({ hash }) => hash);
  const others = new Set([...planned('checked'), ...planned('plain', 2)].map(({ hash }) => hash));
  const small = drawn.filter((hash) => others.has(hash)); // an empty case may come twice
  expect(small.length).toBeLessThan(drawn.length / 20);
});

it('five cases in six get a first look, and all kinds are judged by all now and then', () => {
  const names = (list: readonly { name: string }[]) => list.map(({ name }) => name);
  const plain = planned('plain');
  for (const { index, origin, case: c, properties } of plain) {
    const { pages, appended } = c.options;
    const isPlain = pages === undefined && appended === undefined;
    if (index % 6 !== 0) expect(properties).toEqual(firstLookOf(c));
    if (index % 6 !== 0 && isPlain) expect(properties).toEqual(names(firstLook));
    if (index % 6 !== 0) continue;
    if (origin === 'generated') expect(properties).toEqual(names(propertiesFor(c)));
    else expect(properties).toBeNull();
  }
  const whole = plain.filter(({ index }) => index % 6 === 0).map(({ origin }) => origin);
  expect(whole).toContain('generated');
  expect(whole.filter((origin) => origin !== 'generated').length).toBeGreaterThan(3);
});

it('every width and head size that is declared has its ordinary case, soon', () => {
  const looked = planned('plain').filter(({ index }) => index % 6 !== 0);
  const ordinary = looked.filter(({ origin }) => origin === 'ordinary');
  const pairs = ordinary.map(({ case: c }) => `${c.scheme.bits} ${c.problem.headSize}`);
  const declared = capabilities.formats.flatMap(({ bits, headSizes }) =>
    bits.flatMap((width) => headSizes.map((size) => `${width} ${size}`)),
  );
  expect(new Set(pairs)).toEqual(new Set(declared));
  const widths = new Set(capabilities.formats.flatMap(({ bits }) => bits));
  const first = ordinary.slice(0, widths.size);
  expect(new Set(first.map(({ case: c }) => c.scheme.bits))).toEqual(widths);
  expect(first.every(({ index }) => index < 24)).toBe(true);
  for (const { case: c } of ordinary) {
    expect(parseCase(JSON.parse(canonicalJson(c))).kind).toBe('case');
  }
});

it('among the first cases are a crowd, short requests, shared pages, steps and strides', () => {
  const first = planned('plain').slice(0, 30);
  const options = first.map(({ case: c }) => c.options);
  const inSteps = options.filter(({ pages, appended = 0 }) => pages !== undefined && appended > 0);
  expect(inSteps.some(({ pages }) => (pages?.sharedRecords ?? 0) > 0)).toBe(true);
  expect(options.some(({ inputPadding = 0 }) => inputPadding > 0)).toBe(true);
  const blocks = first.map(({ case: { problem: p } }) => p.tokens.length * p.kvHeads);
  expect(Math.max(...blocks)).toBeGreaterThan(264);
  const { queryTokensMax = 1 } = capabilities;
  const isShort = ({ problem: { tokens, queryTokens } }: Case) =>
    queryTokens === queryTokensMax && tokens.some((n) => n > 0 && n < queryTokensMax - 1);
  expect(queryTokensMax).toBeGreaterThan(2);
  expect(first.some(({ case: c }) => isShort(c))).toBe(true);
});
