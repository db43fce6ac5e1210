// campaign-export.ts - the cases of a campaign as a table: Parquet, CSV, or the answer to a query.
//
// DuckDB does it, which is an optional package of 70 MB: without it one sentence says how to get
// it. Journals are read by our own reader, so that torn and damaged lines and cases that two lines
// tell of are dealt with in one way only; DuckDB gets clean rows from a temporary file.

import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { journalFolder } from '../campaign/campaign-folder.js';
import { IndexSet } from '../campaign/case-source.js';
import { readSegment, segmentPaths } from '../campaign/journal-reader.js';

export type ExportResult =
  | { kind: 'done'; rows: number; text: string }
  | { kind: 'error'; message: string };

export interface ExportOptions {
  readonly folder: string;
  readonly parquet: string | undefined;
  readonly csv: string | undefined;
  /** A query over the view "cases". */
  readonly sql: string | undefined;
}

const COLUMNS = {
  campaign: 'VARCHAR',
  session: 'VARCHAR',
  slot: 'INTEGER',
  kernel: 'VARCHAR',
  uri: 'VARCHAR',
  device: 'VARCHAR',
  index: 'BIGINT',
  hash: 'VARCHAR',
  origin: 'VARCHAR',
  at: 'TIMESTAMP',
  ms: 'INTEGER',
  elements: 'BIGINT',
  passed: 'INTEGER',
  failed: 'INTEGER',
  unsupported: 'INTEGER',
  ratio: 'DOUBLE',
  closest: 'VARCHAR',
  signatures: 'VARCHAR[]',
  cells: 'VARCHAR[]',
} as const;

const MISSING =
  'the package @duckdb/node-api is not installed, which Parquet, CSV and SQL need: ' +
  'npm install @duckdb/node-api';

export async function exportCases(options: ExportOptions): Promise<ExportResult> {
  let duckdb: typeof import('@duckdb/node-api');
  try {
    duckdb = await import('@duckdb/node-api');
  } catch {
    return { kind: 'error', message: MISSING };
  }
  const temporary = mkdtempSync(join(tmpdir(), 'kvproof-export-'));
  try {
    const path = join(temporary, 'cases.jsonl');
    const rows = writeRows(options.folder, path);
    const instance = await duckdb.DuckDBInstance.create(':memory:');
    const connection = await instance.connect();
    const columns = Object.entries(COLUMNS).map(([name, type]) => `'${name}': '${type}'`);
    await connection.run(
      `CREATE TABLE cases AS SELECT * FROM read_json(${quoted(path)}, ` +
        `format = 'newline_delimited', columns = {${columns.join(', ')}})`,
    );
    const { parquet, csv, sql } = options;
    if (parquet !== undefined) {
      await connection.run(`COPY cases TO ${quoted(parquet)} (FORMAT parquet, COMPRESSION zstd)`);
    }
    if (csv !== undefined) await connection.run(`COPY cases TO ${quoted(csv)} (HEADER)`);
    const text = sql === undefined ? '' : await answerOf(connection, sql);
    connection.closeSync();
    instance.closeSync();
    return { kind: 'done', rows, text };
  } catch (error) {
    const why = error instanceof Error ? error.message.split('\n')[0] : String(error);
    return { kind: 'error', message: `DuckDB says: ${why}` };
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** One line of JSON a row, ready for the next program. */
async function answerOf(
  connection: import('@duckdb/node-api').DuckDBConnection,
  sql: string,
): Promise<string> {
  const result = await connection.runAndReadAll(sql);
  return result
    .getRowObjectsJson()
    .map((row) => `${JSON.stringify(row)}\n`)
    .join('');
}

const quoted = (text: string) => `'${text.replaceAll("'", "''")}'`;

function writeRows(folder: string, path: string): number {
  const file = openSync(path, 'w');
  const seen = new Map<string, IndexSet>();
  let rows = 0;
  for (const segment of segmentPaths(journalFolder(folder))) {
    readSegment(segment, ({ header, line, cells }) => {
      if (line.kind !== 'case') return;
      const done = seen.get(header.kernel) ?? new IndexSet();
      seen.set(header.kernel, done);
      if (!done.add(line.index)) return;
      const ratios = Object.entries(line.ratios ?? {}).sort(([, a], [, b]) => b - a);
      const times = (letter: string) => line.verdicts.split(letter).length - 1;
      const { campaign, session, slot, kernel, uri, device } = header;
      const { index, hash, origin, ms, elements, failures = [] } = line;
      const row = {
        ...{ campaign, session, slot, kernel, uri, device: device.name },
        ...{ index, hash, origin, at: timestamp(line.at), ms, elements },
        ...{ passed: times('p'), failed: times('f'), unsupported: times('u') },
        ...{ ratio: ratios[0]?.[1] ?? null, closest: ratios[0]?.[0] ?? null },
        signatures: failures.map(({ signature }) => signature),
        cells,
      };
      writeSync(file, `${JSON.stringify(row)}\n`);
      rows += 1;
    });
  }
  closeSync(file);
  return rows;
}

/** As DuckDB reads it; UTC. A wild number of a damaged journal is no date. */
function timestamp(at: number): string | null {
  return at < 8.64e15 ? new Date(at).toISOString().replace('Z', '') : null;
}
