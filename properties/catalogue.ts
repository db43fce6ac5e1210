// The properties in the order in which a campaign judges them, cheapest first. A new property is a
// file and a line here. What draws cases is elsewhere (arbitrary/): a process that judges them
// starts without it.

import { appendedTokens } from './appended-tokens.js';
import type { Case } from './case.js';
import { chosenProperties } from './choice.js';
import { constantV } from './constant-v.js';
import { declaration } from './declaration.js';
import { dequantizedValues } from './dequantized-values.js';
import { determinism } from './determinism.js';
import { duplicatedTokens } from './duplicated-tokens.js';
import { errorBound } from './error-bound.js';
import { exactCodes } from './exact-codes.js';
import { expandedHeads } from './expanded-heads.js';
import { farPages } from './far-pages.js';
import { headOrder } from './head-order.js';
import { history } from './history.js';
import { keptTokens } from './kept-tokens.js';
import { keyShift } from './key-shift.js';
import { laterTokens } from './later-tokens.js';
import { memoryLaws } from './memory-laws.js';
import { mergedHalves } from './merged-halves.js';
import { needle } from './needle.js';
import { neighbourContent } from './neighbour-content.js';
import { paddingContent } from './padding-content.js';
import { pageOrder } from './page-order.js';
import type { Property } from './property.js';
import { queryScale } from './query-scale.js';
import { queryTokensAlone } from './query-tokens-alone.js';
import { redzone } from './redzone.js';
import { refusal } from './refusal.js';
import { reportedSizes } from './reported-sizes.js';
import { requestAlone } from './request-alone.js';
import { requestOrder } from './request-order.js';
import { scheduleIndependence } from './schedule-independence.js';
import { splitCount } from './split-count.js';
import { stridedRows } from './strided-rows.js';
import { tokenOrder } from './token-order.js';
import { typeChange } from './type-change.js';
import { valueScale } from './value-scale.js';
import { zeroQuery } from './zero-query.js';

/**
 * In brackets what each adds: runs, and with a + also references, which cost several runs. A
 * relation that falls back from bits to bounds uses the reference of error-bound.
 */
export const properties: readonly Property[] = [
  exactCodes, // 1
  dequantizedValues, // 0
  redzone, // 1
  determinism, // 0
  memoryLaws, // 3, on a checking emulator
  scheduleIndependence, // 3, the same
  refusal, // 0
  declaration, // 0
  reportedSizes, // 0
  errorBound, // 0 + 1
  splitCount, // 1
  appendedTokens, // 1, of many launches
  pageOrder, // 1
  keptTokens, // 1
  farPages, // 1
  stridedRows, // 1
  laterTokens, // 1
  queryTokensAlone, // 1
  typeChange, // 2
  requestOrder, // 1
  requestAlone, // 1
  headOrder, // 1
  expandedHeads, // 1
  neighbourContent, // 1
  tokenOrder, // 1
  queryScale, // 1
  valueScale, // 1
  paddingContent, // 2
  history, // 3
  zeroQuery, // 1 + 1
  constantV, // 1 + 1
  needle, // 1 + 1, or twice that
  keyShift, // 1 + 1
  mergedHalves, // 1 + 1
  duplicatedTokens, // 1 + 2
];

/** A first look at a case: what two runs and one reference tell. */
export const firstLook: readonly Property[] = [
  exactCodes,
  dequantizedValues,
  redzone,
  determinism,
  refusal,
  declaration,
  reportedSizes,
  errorBound,
];

/** The properties that a campaign judges on a generated case (choice.ts). */
export function propertiesFor(c: Case): readonly Property[] {
  return chosenProperties(properties, c);
}
