// ledger.ts - failures that are known: a file of entries that people keep beside their code.
//
//   {"schema": "kvproof.ledger/1", "entries": [{
//     "signature": "error-bound/output",    the failure, and nothing but this failure
//     "class": "wrong-answer",              or "crash": never launched while the entry holds
//     "link": "https://.../issues/12",      where it is worked on
//     "expires": "2027-01-31",              the first day on which it is red again
//     "kernel": "cuda:0",                   optional: only there
//     "case": {...},                        optional: the case that shows it
//     "where": {"bits": [2], "tokens": {"min": 129}},   optional: the cases that it is about
//     "fixed": true                         optional: it passes now and must go on to
//   }]}
//
// An entry covers its own signature only: any other failure of the same case is news. A case of a
// wrong-answer entry is run, and a pass is red ("the ledger says that it fails"). Cases of a crash
// entry would poison what runs after them and are not launched at all. After `expires` an entry
// covers nothing. A fixed entry covers nothing either: its case is a regression test.

import { readFileSync } from 'node:fs';
import type { z } from 'zod';
import { type Case, caseHash } from '../../properties/case.js';
import { parseCase } from '../../properties/parse-case.js';
import { reasonOf } from './workdir.js';

export const LEDGER_SCHEMA = 'kvproof.ledger/1';

/** zod repeats what it found, whatever its length. */
const SENTENCE_MAX = 500;

export interface LedgerEntry {
  readonly signature: string;
  readonly class: 'wrong-answer' | 'crash';
  readonly link: string;
  readonly expires: string;
  readonly kernel: string | null;
  readonly case: Case | null;
  readonly where: Where | null;
  readonly fixed: boolean;
}

interface Range {
  readonly min?: number | undefined;
  readonly max?: number | undefined;
}

/** A case is meant if every field that is given fits. `tokens` is the longest request. */
interface Where {
  readonly format?: readonly string[] | undefined;
  readonly kAxis?: readonly string[] | undefined;
  readonly bits?: readonly number[] | undefined;
  readonly group?: readonly number[] | undefined;
  readonly headSize?: readonly number[] | undefined;
  readonly tokens?: Range | undefined;
  readonly requests?: Range | undefined;
  readonly headsPerKv?: Range | undefined;
}

export type LedgerResult = { kind: 'ledger'; ledger: Ledger } | { kind: 'error'; message: string };

/** zod is loaded here and not at the start of the program: it takes 140 ms. */
async function schemaOf() {
  const { z } = await import('zod');
  const range = z
    .strictObject({ min: z.number().optional(), max: z.number().optional() })
    .refine(({ min, max }) => min !== undefined || max !== undefined, 'min or max is required');
  const where = z.strictObject({
    format: z.array(z.string()).optional(),
    kAxis: z.array(z.string()).optional(),
    bits: z.array(z.number()).optional(),
    group: z.array(z.number()).optional(),
    headSize: z.array(z.number()).optional(),
    tokens: range.optional(),
    requests: range.optional(),
    headsPerKv: range.optional(),
  });
  const entry = z.strictObject({
    signature: z.string().min(1).max(4096),
    class: z.enum(['wrong-answer', 'crash']),
    link: z.url(),
    expires: z.iso.date(),
    kernel: z.string().optional(),
    case: z.unknown().optional(),
    where: where.optional(),
    fixed: z.boolean().optional(),
  });
  return z.strictObject({ schema: z.literal(LEDGER_SCHEMA), entries: z.array(entry).max(10_000) });
}

/** today: as "2026-11-24", UTC. */
export async function readLedger(path: string, today: string): Promise<LedgerResult> {
  const wrong = (what: string): LedgerResult => {
    return { kind: 'error', message: `--ledger: ${path}: ${what}` };
  };
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    return wrong(error instanceof SyntaxError ? 'is not JSON' : `(${reasonOf(error)})`);
  }
  const read = (await schemaOf()).safeParse(json);
  if (!read.success) return wrong(sentence(read.error.issues[0]));
  const entries: LedgerEntry[] = [];
  for (const [index, entry] of read.data.entries.entries()) {
    const parsed = entry.case === undefined ? null : parseCase(entry.case);
    if (parsed?.kind === 'error') return wrong(`entries[${index}].${parsed.message}`);
    const { kernel = null, where = null, fixed = false } = entry;
    if (entry.class === 'crash' && parsed === null && where === null && !fixed) {
      return wrong(`entries[${index}]: a crash needs the case or a "where" that it is about`);
    }
    entries.push({ ...entry, kernel, where, fixed, case: parsed === null ? null : parsed.case });
  }
  return { kind: 'ledger', ledger: new Ledger(entries, today) };
}

function sentence({ path, message }: z.core.$ZodIssue): string {
  const where = path
    .map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`))
    .join('');
  const found = `${where === '' ? 'the file' : where.replace(/^\./, '')}: ${message}`;
  return found.replace(/\p{Cc}/gu, ' ').slice(0, SENTENCE_MAX);
}

export class Ledger {
  static readonly empty = new Ledger([], '');

  constructor(
    readonly entries: readonly LedgerEntry[],
    private readonly today: string,
  ) {}

  /** The entry that covers a failure; null: it is news. */
  covering(kernel: string, signature: string, c: Case): LedgerEntry | null {
    return (
      this.entries.find(
        (entry) => this.holds(entry, kernel) && entry.signature === signature && isAbout(entry, c),
      ) ?? null
    );
  }

  /** The crash entry that keeps a case from being launched. */
  quarantine(kernel: string, c: Case): LedgerEntry | null {
    return (
      this.entries.find(
        (entry) => entry.class === 'crash' && this.holds(entry, kernel) && isAbout(entry, c),
      ) ?? null
    );
  }

  /** The wrong-answer entry whose own case this is: it must fail. */
  expecting(kernel: string, hash: string): LedgerEntry | null {
    return (
      this.entries.find(
        (entry) =>
          entry.class === 'wrong-answer' &&
          this.holds(entry, kernel) &&
          entry.case !== null &&
          caseHash(entry.case) === hash,
      ) ?? null
    );
  }

  /** The fixed entry whose failure has come back. */
  regression(kernel: string, signature: string): LedgerEntry | null {
    return (
      this.entries.find(
        (entry) =>
          entry.fixed &&
          entry.signature === signature &&
          (entry.kernel === null || entry.kernel === kernel),
      ) ?? null
    );
  }

  private holds(entry: LedgerEntry, kernel: string): boolean {
    const isItsKernel = entry.kernel === null || entry.kernel === kernel;
    return isItsKernel && !entry.fixed && this.today < entry.expires;
  }
}

/**
 * A wrong answer without `where` is about every case, its own case being an example. A crash is
 * about no more than it says: other cases that crash are other bugs until somebody has looked.
 */
function isAbout(entry: LedgerEntry, c: Case): boolean {
  if (entry.where !== null && matches(entry.where, c)) return true;
  if (entry.case !== null && caseHash(entry.case) === caseHash(c)) return true;
  return entry.class === 'wrong-answer' && entry.where === null;
}

function matches(where: Where, { problem, scheme }: Case): boolean {
  const { format, kAxis, bits, group, headSize, tokens, requests, headsPerKv } = where;
  return (
    (format?.includes(scheme.format) ?? true) &&
    (kAxis?.includes(scheme.kAxis) ?? true) &&
    (bits?.includes(scheme.bits) ?? true) &&
    (group?.includes(scheme.group) ?? true) &&
    (headSize?.includes(problem.headSize) ?? true) &&
    isWithin(tokens, Math.max(...problem.tokens)) &&
    isWithin(requests, problem.tokens.length) &&
    isWithin(headsPerKv, problem.queryHeads / problem.kvHeads)
  );
}

function isWithin(range: Range | undefined, value: number): boolean {
  return value >= (range?.min ?? value) && value <= (range?.max ?? value);
}
