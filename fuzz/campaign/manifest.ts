// manifest.ts - what a campaign is: seed, kernels, properties, corpus. Written once, at its begin.
//
// Everything that decides which case stands at which position of the plan is part of the id, so
// that shards belong together exactly if their ids are equal, and so that a campaign is never gone
// on with after the generator or the kernel's capabilities have changed: positions would then mean
// other cases. How long a campaign runs, and on how many workers, is no part of it.

import { fnv1a64 } from '../../properties/hash.js';
import type { Capabilities, Device } from '../../properties/kernel.js';
import type { Plan } from './plan.js';
import { parseSeed, type Seed } from './seed.js';

export const CAMPAIGN_SCHEMA = 'kvproof.campaign/1';

export interface ManifestKernel {
  /** As the campaign names it: "sim:sm_90", or "cuda:*" for every GPU of the host. */
  readonly name: string;
  readonly device: Device;
  readonly capabilities: Capabilities;
  /** Of the plan: equal fingerprints mean equal cases at equal positions. */
  readonly fingerprint: string;
}

export interface Manifest {
  readonly schema: typeof CAMPAIGN_SCHEMA;
  readonly id: string;
  readonly seed: Seed;
  readonly kernels: readonly ManifestKernel[];
  readonly checked: boolean;
  readonly twin: string | null;
  /** Absent: every case is judged in full. */
  readonly fullOneIn?: number;
  /** Absent: PAIRS_MAX of plan.ts. */
  readonly pairsMax?: number;
  /** null: all. */
  readonly properties: readonly string[] | null;
  /** As "2/4"; after a merge the shards that were joined, separated by commas. */
  readonly shard: string;
  readonly commit: string;
  /** ISO 8601, UTC. */
  readonly createdAt: string;
}

/** Drawn cases that go into a fingerprint, and how far apart they lie in the plan. */
const PROBES = 16;
const PROBE_STRIDE = 97;

export function fingerprintOf(plan: Plan): string {
  const fixed = plan.stored + plan.realCache;
  const hashes: string[] = [];
  for (let index = 0; index < fixed; index++) hashes.push(plan.at(index).hash);
  for (let probe = 0; probe < PROBES; probe++) hashes.push(plan.at(fixed + probe).hash);
  hashes.push(plan.at(fixed + PROBES * PROBE_STRIDE).hash);
  return fnv1a64(hashes.join(' '));
}

export function campaignId(
  facts: Pick<Manifest, 'seed' | 'checked' | 'twin' | 'properties' | 'fullOneIn' | 'pairsMax'> & {
    readonly kernels: readonly Pick<ManifestKernel, 'name' | 'fingerprint'>[];
  },
): string {
  const { seed, checked, twin, properties, fullOneIn, pairsMax } = facts;
  const kernels = facts.kernels.map(({ name, fingerprint }) => [name, fingerprint]);
  return fnv1a64(JSON.stringify({ seed, checked, twin, properties, fullOneIn, pairsMax, kernels }));
}

export type ParsedManifest =
  | { kind: 'manifest'; manifest: Manifest }
  | { kind: 'error'; message: string };

const TEXT_MAX = 4096;
const LIST_MAX = 1000;

/** A manifest may come with journals from anywhere. */
export function parseManifest(json: unknown): ParsedManifest {
  const wrong = (message: string): ParsedManifest => ({ kind: 'error', message });
  if (typeof json !== 'object' || json === null) return wrong('is not a JSON object');
  const fields = json as Record<string, unknown>;
  if (fields.schema !== CAMPAIGN_SCHEMA) return wrong(`has no schema "${CAMPAIGN_SCHEMA}"`);
  for (const name of ['id', 'shard', 'commit', 'createdAt']) {
    if (!isText(fields[name])) return wrong(`${name}: a text is required`);
  }
  const seed = parseSeed(String(fields.seed));
  if (seed.kind === 'error') return wrong('seed: a number or a git hash is required');
  const { kernels, properties, checked, twin } = fields;
  if (typeof checked !== 'boolean') return wrong('checked: true or false is required');
  for (const name of ['fullOneIn', 'pairsMax']) {
    if (fields[name] !== undefined && !Number.isSafeInteger(fields[name])) {
      return wrong(`${name}: a number is required`);
    }
  }
  if (twin !== null && !isText(twin)) return wrong('twin: a kernel or null is required');
  if (properties !== null && !isTexts(properties)) {
    return wrong('properties: names or null are required');
  }
  if (!Array.isArray(kernels) || kernels.length > LIST_MAX || !kernels.every(isKernel)) {
    return wrong('kernels: a list of kernels is required');
  }
  return { kind: 'manifest', manifest: { ...(fields as unknown as Manifest), seed: seed.seed } };
}

const isText = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= TEXT_MAX;

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.length <= LIST_MAX && value.every(isText);

const isNumbers = (value: unknown): value is number[] =>
  Array.isArray(value) && value.length <= LIST_MAX && value.every(Number.isFinite);

function isKernel(value: unknown): value is ManifestKernel {
  if (typeof value !== 'object' || value === null) return false;
  const { name, fingerprint, device, capabilities } = value as Record<string, unknown>;
  if (!isText(name) || !isText(fingerprint)) return false;
  if (typeof device !== 'object' || device === null) return false;
  if (typeof capabilities !== 'object' || capabilities === null) return false;
  const { sm, driver, name: deviceName } = device as Record<string, unknown>;
  const { formats, tokensMax, headsPerKvMax } = capabilities as Record<string, unknown>;
  return (
    isText(deviceName) &&
    isText(sm) &&
    isText(driver) &&
    Number.isSafeInteger(tokensMax) &&
    Number.isSafeInteger(headsPerKvMax) &&
    Array.isArray(formats) &&
    formats.length <= LIST_MAX &&
    formats.every(isFormat)
  );
}

function isFormat(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { format, kAxis, bits, groups, headSizes } = value as Record<string, unknown>;
  return (
    isText(format) && isTexts(kAxis) && isNumbers(bits) && isNumbers(groups) && isNumbers(headSizes)
  );
}
