// Tests of the tables that a campaign exports: every case once, whatever its journals went through.

import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { packageRoot } from '../campaign/package-root.js';

const cli = join(packageRoot(), 'dist', 'fuzz', 'cli.js');
const folder = mkdtempSync(join(tmpdir(), 'kvproof-export-test-'));
const night = join(folder, 'night');
const RUNS = 6;

function kvproof(...args: string[]) {
  return spawnSync(process.execPath, [cli, ...args], { cwd: folder, encoding: 'utf8' });
}

async function query(sql: string): Promise<Record<string, unknown>[]> {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const rows = (await connection.runAndReadAll(sql)).getRowObjectsJson();
  connection.closeSync();
  instance.closeSync();
  return rows as Record<string, unknown>[];
}

beforeAll(() => {
  const properties = ['--property', 'exact-codes', '--property', 'error-bound'];
  const size = ['--runs', String(RUNS), '--seed', '1', '--no-corpus', '--workers', '1'];
  const done = kvproof('fuzz', '--kernel', 'sim:sm_90', '--workdir', night, ...size, ...properties);
  expect(done.status, done.stdout + done.stderr).toBe(0);
  // The same cases in a second segment, as after a shard was merged twice; and a torn last line.
  const journal = join(night, 'journal');
  const [segment] = readdirSync(journal);
  copyFileSync(join(journal, segment), join(journal, `again-${segment}`));
  appendFileSync(join(journal, segment), '{"kind":"case","index":99,"ha');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('Parquet and CSV have a row for each case, and the elements that status counts', async () => {
  const [parquet, csv] = [join(folder, "it's.parquet"), join(folder, 'cases.csv')];
  const made = kvproof('report', night, '--parquet', parquet, '--csv', csv);
  expect(made.status, made.stderr).toBe(0);
  expect(made.stdout).toContain(`${RUNS} rows in ${csv}`);
  const status = JSON.parse(kvproof('status', night, '--json').stdout);
  expect(status.cases).toBe(RUNS);
  const columns = 'count(*)::INT n, sum(elements)::DOUBLE elements, max(ratio) ratio';
  const quoted = parquet.replace("'", "''");
  const [[fromParquet], [fromCsv]] = [
    await query(
      `SELECT ${columns}, count(DISTINCT "index")::INT i, min("at") AS first FROM '${quoted}'`,
    ),
    await query(`SELECT ${columns} FROM '${csv}'`),
  ];
  expect(fromParquet).toMatchObject({ n: RUNS, i: RUNS, elements: status.elements });
  expect(fromParquet.ratio).toBeGreaterThan(0);
  expect(String(fromParquet.first)).toMatch(/^20\d\d-\d\d-\d\d /);
  expect(fromCsv).toMatchObject({ n: RUNS, elements: status.elements, ratio: fromParquet.ratio });
  expect(readFileSync(csv, 'utf8').split('\n')[0]).toContain('signatures');
});

it('a query is answered with one line of JSON a row; a wrong one with one sentence', () => {
  const sql = 'SELECT index, passed, failed, len(cells) > 0 AS cells FROM cases ORDER BY index';
  const rows = kvproof('report', night, '--sql', sql).stdout.trim().split('\n');
  expect(rows.map((row) => JSON.parse(row))).toEqual(
    Array.from({ length: RUNS }, (_, i) =>
      expect.objectContaining({ index: String(i), failed: 0, cells: true }),
    ),
  );
  const wrong = kvproof('report', night, '--sql', 'SELECT nothing FROM cases');
  expect(wrong.status).toBe(3);
  expect(wrong.stderr.trim().split('\n')).toEqual([expect.stringContaining('DuckDB says')]);
});
