// finding.ts - a failed property with its smallest case, its signature and where it was seen.
//
// What is kept is the case, not the seed: a seed is exact only for one version of the generator.
// Seed and index are kept beside it as history. A finding is one JSON file, and reading one back
// checks what a replay relies on (case, property, signature, kernel); the rest is for people.

import { type Case, canonicalJson } from '../../properties/case.js';
import type { Device, SourceLine } from '../../properties/kernel.js';
import { parseCase } from '../../properties/parse-case.js';
import type { Worst } from '../../properties/property.js';
import type { Seed } from './seed.js';

export const FINDING_SCHEMA = 'kvproof.finding/1';

export interface Finding {
  readonly schema: typeof FINDING_SCHEMA;
  /** `<property>-<hash of the case>`, which is also the name of the file. */
  readonly id: string;
  readonly property: string;
  readonly signature: string;
  readonly message: string;
  readonly kernel: string;
  /** As small as it was shrunk to. */
  readonly case: Case;
  /** The case in which the failure was seen first. */
  readonly original: OriginalCase;
  readonly shrink: ShrinkHistory;
  readonly worst: Worst | null;
  /** Line of the kernel's source, where an emulator knows it. */
  readonly source: SourceLine | null;
  readonly device: Device;
  readonly commit: string;
  /** ISO 8601, UTC. */
  readonly firstSeen: string;
  readonly lastSeen: string;
  /** Cases that failed with this signature, over all runs. */
  readonly count: number;
  /** A command that can be pasted. */
  readonly replay: string;
}

export interface OriginalCase {
  readonly hash: string;
  /** "generated", "real-cache", or the path of a stored case. */
  readonly origin: string;
  readonly seed: Seed;
  /** Position in the plan of the run. */
  readonly index: number;
}

export interface ShrinkHistory {
  /** Smaller cases taken one after another, and cases tried. */
  readonly steps: number;
  readonly tries: number;
  /** No smaller candidate failed in the same way. */
  readonly smallest: boolean;
}

/** What is read back from a file and checked; the rest of it is for people. */
export type StoredFinding = Pick<
  Finding,
  'id' | 'property' | 'signature' | 'message' | 'kernel' | 'case' | 'firstSeen' | 'count'
>;

export type ParsedFinding =
  | { kind: 'finding'; finding: StoredFinding }
  | { kind: 'error'; message: string };

/** Characters of a text in a finding; longer ones were not written by this tool. */
const TEXT_LENGTH_MAX = 4096;

export function parseFinding(json: unknown): ParsedFinding {
  const error = (message: string): ParsedFinding => ({ kind: 'error', message });
  if (typeof json !== 'object' || json === null) return error('finding: an object is required');
  const fields = json as Record<string, unknown>;
  const names = ['id', 'property', 'signature', 'message', 'kernel', 'firstSeen'] as const;
  const texts = {} as Record<(typeof names)[number], string>;
  for (const name of names) {
    const value = fields[name];
    if (typeof value !== 'string' || value === '' || value.length > TEXT_LENGTH_MAX) {
      return error(`finding.${name}: a text of 1 to ${TEXT_LENGTH_MAX} characters is required`);
    }
    texts[name] = value;
  }
  if (!/^[a-z0-9-]+$/.test(texts.id)) {
    return error('finding.id: lower-case letters, digits and hyphens are required');
  }
  const { count } = fields;
  if (typeof count !== 'number' || !Number.isSafeInteger(count) || !(count >= 1)) {
    return error('finding.count: a positive integer is required');
  }
  const parsed = parseCase(fields.case);
  if (parsed.kind === 'error') return error(`finding.${parsed.message}`);
  return { kind: 'finding', finding: { ...texts, count, case: parsed.case } };
}

/** Indented, except for the case: one line, as it is hashed. */
export function findingJson(finding: Finding): string {
  const placeholder = 'the case in one line';
  const text = JSON.stringify({ ...finding, case: placeholder }, numberOrText, 2);
  return `${text.replace(JSON.stringify(placeholder), () => canonicalJson(finding.case))}\n`;
}

/** JSON has no NaN and no Infinity, and a worst element often has one of them. */
export function numberOrText(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
}
