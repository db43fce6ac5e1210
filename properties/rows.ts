// Rows of the output, (requests, queryTokens, queryHeads): where each belongs. A row reads one KV
// head of one request, and of that the tokens up to its query token's own.

import {
  type Problem,
  queriesPerKvHead,
  queryRowCount,
  queryTokenCount,
  visibleTokens,
} from '../reference/problem.js';

export interface RowPlace {
  readonly request: number;
  readonly queryToken: number;
  readonly queryHead: number;
  /** Index of (request, KV head). */
  readonly stored: number;
  /** Tokens that the row sees. */
  readonly visible: number;
}

/** The place of every row, in order. */
export function rowPlaces(problem: Problem): RowPlace[] {
  const { queryHeads, kvHeads } = problem;
  const n = queryTokenCount(problem);
  const ratio = queriesPerKvHead(problem);
  const visible = visibleTokens(problem);
  return Array.from({ length: queryRowCount(problem) }, (_, row) => {
    const flat = Math.floor(row / queryHeads);
    const [request, queryHead] = [Math.floor(flat / n), row % queryHeads];
    const stored = request * kvHeads + Math.floor(queryHead / ratio);
    return { request, queryToken: flat % n, queryHead, stored, visible: visible[flat] };
  });
}

/** Row of a query token and query head. */
export function rowOf(p: Problem, request: number, queryToken: number, queryHead: number): number {
  return (request * queryTokenCount(p) + queryToken) * p.queryHeads + queryHead;
}

/** Coordinates of a row in the shape of lse; without the query token if there is one alone. */
export function rowIndex(problem: Problem, row: number): number[] {
  const { queryHeads } = problem;
  const n = queryTokenCount(problem);
  const [flat, head] = [Math.floor(row / queryHeads), row % queryHeads];
  return n === 1 ? [flat, head] : [Math.floor(flat / n), flat % n, head];
}

/** "request 1, query head 3", for messages. */
export function describeRow(problem: Problem, row: number): string {
  const index = rowIndex(problem, row);
  const token = index.length === 2 ? '' : `query token ${index[1]}, `;
  return `request ${index[0]}, ${token}query head ${index[index.length - 1]}`;
}
