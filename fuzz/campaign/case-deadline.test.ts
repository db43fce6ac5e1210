// A case has the deadline that was asked for, and a dearer one in proportion.
import { expect, it } from 'vitest';
import type { Case } from '../../properties/index.js';
import { caseDeadlineMs } from './case-deadline.js';

it.each([
  [0, 1],
  [8192, 1],
  [16_384, 2],
  [65_536, 8],
  [1_000_000, 9],
])('%i tokens of one head: %i times', (tokens, times) => {
  const problem = { headSize: 128, kvHeads: 1, queryHeads: 1, tokens: [tokens] };
  expect(caseDeadlineMs({ problem } as unknown as Case, 60_000)).toBe(60_000 * times);
});
