// table-file.ts - a study's data table on disk: CSV always, Parquet where DuckDB is installed (an
// optional dependency of 70 MB, used for nothing else here).
//
// Fields are texts, numbers, booleans and null (an empty field). RFC 4180 quoting.

import { writeFileSync } from 'node:fs';

export type Datum = Readonly<Record<string, string | number | boolean | null>>;

export function csvText(rows: readonly Datum[]): string {
  const names = Object.keys(rows[0] ?? {});
  const line = (cells: readonly unknown[]) => cells.map(csvField).join(',');
  const body = rows.map((row) => line(names.map((name) => row[name])));
  return `${[line(names), ...body].join('\n')}\n`;
}

function csvField(value: unknown): string {
  const text = value === null || value === undefined ? '' : String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** data.csv becomes data.parquet beside it; null, or why not. */
export async function parquetFrom(csv: string, parquet: string): Promise<string | null> {
  let duckdb: typeof import('@duckdb/node-api');
  try {
    duckdb = await import('@duckdb/node-api');
  } catch {
    return 'no Parquet: the optional package @duckdb/node-api is not installed';
  }
  const instance = await duckdb.DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const quoted = (path: string) => `'${path.replaceAll("'", "''")}'`;
  try {
    await connection.run(
      `COPY (SELECT * FROM read_csv(${quoted(csv)}, header = true, sample_size = -1)) ` +
        `TO ${quoted(parquet)} (FORMAT parquet, COMPRESSION zstd)`,
    );
    return null;
  } catch (error) {
    return `no Parquet: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`;
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

export function writeCsv(path: string, rows: readonly Datum[]): void {
  writeFileSync(path, csvText(rows));
}
