// report.verb.ts - the options of `kvproof report`; report.ts does it.

import type { DefineVerb } from './verb.js';

export const reportVerb: DefineVerb = (program, { settle }) => {
  program
    .command('report <dir>')
    .description('a campaign as one HTML file; its cases as Parquet or CSV, or queried by SQL')
    .option('--html <file>', 'the page (default: DIR/report.html, unless another is asked for)')
    .option('--markdown <file>', 'the same in short, as the text of an issue')
    .option('--parquet <file>', 'a row for each case (needs @duckdb/node-api)')
    .option('--csv <file>', 'the same as CSV')
    .option('--sql <query>', 'a query over the table "cases", answered in lines of JSON')
    .action(async (dir, flags) => {
      const { report } = await import('./report.js');
      settle(await report(dir, flags));
    });
};
