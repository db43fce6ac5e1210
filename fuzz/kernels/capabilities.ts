// capabilities.ts - the text by which a kernel library declares itself, to Capabilities.
//
// kvp_kernel.capabilities is JSON with the fields of Capabilities (properties/kernel.ts) except
// those that the host knows better: name, emulated, checked. Of `arithmetic` a library may leave
// out `fraction` and `fusedProducts`; they are then those of the device's tensor core. The text
// comes from a stranger's library, so every field is checked here; unknown fields are ignored,
// since a later version may have more.

import type { Capabilities, FormatSupport } from '../../properties/kernel.js';
import { type Arithmetic, anyArithmetic } from '../../reference/arithmetic.js';
import type { Precision } from '../../reference/dense-bound.js';
import type { ElementType } from '../../reference/format.js';
import { dotModel } from '../../reference/mma.js';

export type CapabilitiesResult =
  | { kind: 'capabilities'; capabilities: Capabilities }
  | { kind: 'error'; message: string };

/** What the host knows about a library without asking its text. */
export interface HostFacts {
  readonly name: string;
  /** Compute capability without the dot, 0 for a kernel on host memory. */
  readonly sm: number;
  readonly emulated: boolean;
  readonly checked: boolean;
  /** Functions that the table has; absent: the host cannot tell. */
  readonly append?: boolean;
  readonly dequantize?: boolean;
  /** Of the library's memory; absent: none. */
  readonly streams?: boolean;
  /** The host can put a pool of pages behind addresses that nobody touches. */
  readonly farPages?: boolean;
}

/** Thrown and caught in this file only: the way out of a nested check. */
class Mismatch extends Error {}

function fail(path: string, found: unknown, required: string): never {
  const text = found === undefined ? 'nothing' : JSON.stringify(found).slice(0, 60);
  throw new Mismatch(`capabilities.${path}: ${text} found, ${required} is required`);
}

type Fields = Record<string, unknown>;

function fields(value: unknown, path: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  return fail(path, value, 'an object');
}

function list<T>(value: unknown, path: string, element: (x: unknown, path: string) => T): T[] {
  if (!Array.isArray(value) || value.length === 0) return fail(path, value, 'a non-empty list');
  return value.map((x, i) => element(x, `${path}[${i}]`));
}

function text(value: unknown, path: string): string {
  return typeof value === 'string' && value !== '' ? value : fail(path, value, 'a text');
}

function flag(value: unknown, path: string): boolean {
  return typeof value === 'boolean' ? value : fail(path, value, 'true or false');
}

function count(value: unknown, path: string): number {
  const fits = typeof value === 'number' && Number.isSafeInteger(value) && value >= 1;
  return fits ? value : fail(path, value, 'a positive integer');
}

function oneOf<T extends string | number>(value: unknown, path: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === value);
  return found ?? fail(path, value, choices.map((c) => JSON.stringify(c)).join(' or '));
}

function elementType(value: unknown, path: string): ElementType {
  return oneOf(value, path, ['fp16', 'bf16'] as const);
}

/** Declared, and there: a function that is missing, or a page table that append would need. */
function backed(found: Record<string, boolean | number>, host: HostFacts): void {
  for (const name of ['append', 'dequantize'] as const) {
    if (found[name] === true && host[name] === false) {
      fail(name, true, 'a function of that name in the kernel table');
    }
  }
  if (found.append === true && found.paged !== true) fail('paged', found.paged, 'true with append');
}

const FLAGS = ['batchInvariant', 'complete', 'paged', 'append', 'dequantize', 'strided'] as const;

/** What a library may promise or support beyond the first version of the interface. */
function optional(c: Fields, host: HostFacts): Partial<Capabilities> {
  const found: Record<string, boolean | number> = {};
  for (const name of FLAGS) {
    if (c[name] !== undefined) found[name] = flag(c[name], name);
  }
  if (c.queryTokensMax !== undefined) {
    found.queryTokensMax = count(c.queryTokensMax, 'queryTokensMax');
  }
  backed(found, host);
  return found;
}

function formatSupport(value: unknown, path: string): FormatSupport {
  const f = fields(value, path);
  return {
    format: text(f.format, `${path}.format`),
    kAxis: list(f.kAxis, `${path}.kAxis`, text),
    bits: list(f.bits, `${path}.bits`, count),
    groups: list(f.groups, `${path}.groups`, count),
    headSizes: list(f.headSizes, `${path}.headSizes`, count),
    ...(f.types === undefined ? {} : { types: list(f.types, `${path}.types`, elementType) }),
  };
}

/**
 * Accumulation of the tensor core by architecture; the widest for one that has not been measured.
 */
function tensorCore(sm: number): Pick<Arithmetic, 'fraction' | 'fusedProducts'> {
  if (sm === 90) return dotModel('sm_90');
  if (sm === 89) return dotModel('sm_89');
  if (sm >= 80 && sm < 89) return dotModel('sm_80');
  return anyArithmetic;
}

/** Newest architecture of mma.ts. */
const MEASURED_SM_MAX = 90;

/**
 * The schedule of the newest architecture that is not newer than the device. None where the tensor
 * core has not been measured: a range needs its sums bit for bit, where a bound takes the widest.
 * A kernel that names the instruction of its exponentials is held to its bits on sm_90, where every
 * one of them has been measured.
 */
function schedule(value: unknown, path: string, sm: number): Pick<Arithmetic, 'schedule'> {
  const declared = list(value, path, (x, at) => {
    const s = fields(x, at);
    const warps = list(s.warps, `${at}.warps`, (pair, place) => {
      const [bytes, found, ...rest] = list(pair, place, count);
      if (found === undefined || rest.length > 0) return fail(place, pair, '[bytes, warps]');
      return [bytes, found] as const;
    });
    const name = 'ex2.approx.ftz.f32';
    if (s.exponential !== undefined) oneOf(s.exponential, `${at}.exponential`, [name] as const);
    return { sm: count(s.sm, `${at}.sm`), warps, named: s.exponential !== undefined };
  });
  const fitting = declared
    .filter((s) => s.sm <= sm && sm <= MEASURED_SM_MAX)
    .sort((a, b) => b.sm - a.sm);
  if (fitting.length === 0) return {};
  const [{ warps, named }] = fitting;
  return { schedule: { warps, ...(named && sm === 90 ? { exponential: 'sm_90' } : {}) } };
}

function arithmetic(value: unknown, sm: number): Arithmetic | null {
  if (value === null) return null;
  const path = 'arithmetic';
  const a = fields(value, path);
  const core = tensorCore(sm);
  const { fraction = core.fraction, fusedProducts = core.fusedProducts } = a;
  return {
    operands: oneOf(a.operands, `${path}.operands`, ['folded', 'dequantized', 'any'] as const),
    fraction: oneOf(fraction, `${path}.fraction`, [24, 25] as const),
    fusedProducts: oneOf(fusedProducts, `${path}.fusedProducts`, [8, 16] as const),
    sumLanes: count(a.sumLanes, `${path}.sumLanes`),
    ...(a.rescaleTokens === undefined
      ? {}
      : { rescaleTokens: count(a.rescaleTokens, `${path}.rescaleTokens`) }),
    ...(a.schedule === undefined ? {} : schedule(a.schedule, `${path}.schedule`, sm)),
  };
}

const ROUNDINGS = ['f32', 'f16', 'bf16'] as const;

function precision(value: unknown): Precision {
  const path = 'precision';
  const p = fields(value, path);
  return {
    operands: oneOf(p.operands, `${path}.operands`, ROUNDINGS),
    ...(p.scaledOperands === undefined
      ? {}
      : { scaledOperands: flag(p.scaledOperands, `${path}.scaledOperands`) }),
    scores: oneOf(p.scores, `${path}.scores`, ROUNDINGS),
    weights: oneOf(p.weights, `${path}.weights`, ROUNDINGS),
    rescaleTokens: count(p.rescaleTokens, `${path}.rescaleTokens`),
  };
}

/** What only a kernel with a layout of its own declares; absent stays absent. */
function ofValues(c: Fields): Partial<Capabilities> {
  const read = <T>(key: string, element: (x: unknown, path: string) => T) =>
    c[key] === undefined ? {} : { [key]: element(c[key], key) };
  if (c.layout !== 'values') return read('lse', flag);
  return {
    ...read('precision', precision),
    ...read('blockTokens', count),
    ...read('tokensMultiple', count),
    ...read('lse', flag),
    ...read('eitherTie', flag),
    ...read('quantizesQuery', flag),
    ...read('roundedValues', flag),
  };
}

/** Reads the text of a kernel library. */
export function parseCapabilities(json: string, host: HostFacts): CapabilitiesResult {
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch {
    const start = JSON.stringify(json.slice(0, 40));
    return { kind: 'error', message: `capabilities: ${start}... is not JSON` };
  }
  try {
    const c = fields(parsed, 'json');
    const capabilities: Capabilities = {
      name: host.name,
      formats: list(c.formats, 'formats', formatSupport),
      layout: oneOf(c.layout, 'layout', ['record128', 'values'] as const),
      ...ofValues(c),
      tokensMax: count(c.tokensMax, 'tokensMax'),
      headsPerKvMax: count(c.headsPerKvMax, 'headsPerKvMax'),
      arithmetic: arithmetic(c.arithmetic, host.sm),
      tiles: list(c.tiles, 'tiles', count),
      deterministic: flag(c.deterministic, 'deterministic'),
      ...optional(c, host),
      ...(host.streams === true ? { streams: true } : {}),
      ...(c.layout === 'record128' && c.paged === true && host.farPages === true
        ? { farPages: true }
        : {}),
      emulated: host.emulated,
      checked: host.checked,
    };
    return { kind: 'capabilities', capabilities };
  } catch (error) {
    if (error instanceof Mismatch) return { kind: 'error', message: error.message };
    throw error;
  }
}
