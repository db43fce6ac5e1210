// exec.ts - exec:COMMAND: a kernel in a process of its own, in any language, that speaks the
// protocol of native/plugin/README.md over its standard input and output.
//
// The process says "hello" with its capabilities and is then asked, one message at a time, whether
// it supports a case and to run one. An answer that keeps the protocol but not its promise (a wrong
// size, say) is a result that the properties judge; an answer that does not keep the protocol, and
// the end of the process, throw ProcessDeath. Waiting for a result has no deadline of its own: the
// supervisor has one for the case, and kills this process with everything below it.

import type { Case } from '../../properties/case.js';
import type {
  Capabilities,
  Device,
  Inputs,
  Kernel,
  Ran,
  RunOptions,
  RunResult,
  Stored,
} from '../../properties/kernel.js';
import { quantizedTokens } from '../../properties/stored.js';
import { type ElementType, elementWords, f64Array } from '../../reference/format.js';
import { headTensor, specOf } from '../../reference/formats/case-scheme.js';
import type { Packed } from '../../reference/formats/index.js';
import { elementType } from '../../reference/problem.js';
import { parseCapabilities } from './capabilities.js';
import { type Frame, type FrameTensor, tensorOf } from './exec-frame.js';
import { ExecProcess } from './exec-process.js';
import type { OpenResult } from './native.js';
import { ProcessDeath } from './process-death.js';

/** An interpreter that loads a framework and finds its device takes this long at worst. */
const HELLO_DEADLINE_MS = 120_000;
const PROTOCOL_VERSION = 1;

const FAILURES = ['unsupported', 'refused', 'device-error'] as const;

export function openExec(
  uri: string,
  command: string,
  deadlineMs: number = HELLO_DEADLINE_MS,
): OpenResult {
  const fail = (why: string): OpenResult => ({
    kind: 'error',
    exitCode: 2,
    message: `${uri}: ${why}`,
  });
  let process: ExecProcess;
  try {
    process = new ExecProcess(command);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { kind: 'error', exitCode: 3, message: `${uri}: ${why}` };
  }
  try {
    const hello = process.ask(
      { header: { op: 'hello', version: PROTOCOL_VERSION }, tensors: [] },
      deadlineMs,
    );
    const described = hello === null ? null : describe(hello.header);
    if (described?.kind === 'described') {
      return { kind: 'kernel', kernel: new ExecKernel(uri, described, process) };
    }
    process.kill();
    const late = `no answer to "hello" within ${deadlineMs / 1000} s`;
    return fail(described === null ? late : described.message);
  } catch (error) {
    process.kill();
    if (!(error instanceof ProcessDeath)) throw error;
    return fail(error.message);
  }
}

interface Described {
  readonly kind: 'described';
  readonly device: Device;
  readonly capabilities: Capabilities;
}

function describe(header: Frame['header']): Described | { kind: 'error'; message: string } {
  const { version, name, device, capabilities } = header;
  const error = (message: string) => ({ kind: 'error' as const, message });
  if (typeof header.error === 'string') return error(header.error.split('\n')[0]);
  if (version !== PROTOCOL_VERSION) {
    const found = JSON.stringify(version) ?? 'nothing';
    return error(`hello.version: ${found} found, ${PROTOCOL_VERSION} is required`);
  }
  if (typeof name !== 'string' || name === '') return error('hello.name: a text is required');
  const d = (device ?? {}) as Record<string, unknown>;
  const text = (value: unknown, otherwise: string) =>
    typeof value === 'string' && value !== '' ? value : otherwise;
  const sm = text(d.sm, 'host');
  const facts = { name, emulated: false, checked: false };
  const parsed = parseCapabilities(JSON.stringify(capabilities ?? null), {
    ...facts,
    sm: Number(/^sm_(\d+)$/.exec(sm)?.[1] ?? 0),
  });
  if (parsed.kind === 'error') return error(parsed.message);
  const found = { name: text(d.name, 'host'), sm, driver: text(d.driver, 'none') };
  return { kind: 'described', device: found, capabilities: parsed.capabilities };
}

/** The name in messages of the type of q, k, v and the output. */
function wordType({ problem }: Case): 'f16' | 'bf16' {
  return elementType(problem) === 'bf16' ? 'bf16' : 'f16';
}

/** What a process is told about a case: everything but the recipes of its tensors. */
function questionOf(c: Case): Record<string, unknown> {
  const { problem, scheme, options } = c;
  return { problem, scheme, options };
}

class ExecKernel implements Kernel {
  readonly device: Device;
  readonly capabilities: Capabilities;

  constructor(
    readonly uri: string,
    { device, capabilities }: Described,
    private readonly process: ExecProcess,
  ) {
    this.device = device;
    this.capabilities = capabilities;
  }

  supports(c: Case): string | null {
    const { header } = this.ask({ header: { op: 'supports', ...questionOf(c) }, tensors: [] });
    if (header.reason === null) return null;
    if (typeof header.reason === 'string' && header.reason !== '') return header.reason;
    throw this.breach(`supports: the reason is ${JSON.stringify(header.reason)}, not text or null`);
  }

  run(c: Case, { q, k, v }: Inputs, { poison, splits, schedule }: RunOptions): RunResult {
    const { tokens, queryHeads, kvHeads, headSize } = c.problem;
    const total = tokens.reduce((sum, n) => sum + n, 0);
    const question = questionOf(
      splits === undefined ? c : { ...c, options: { ...c.options, splits } },
    );
    // Another schedule is only a name to a process; it lets the kernel run twice.
    const header = { op: 'run', ...question, poison, schedule: schedule?.policy ?? null };
    const type = wordType(c);
    const rows = q.length / (queryHeads * headSize);
    const answer = this.ask({
      header,
      tensors: [
        tensorOf('q', type, [rows, queryHeads, headSize], q),
        tensorOf('k', type, [total, kvHeads, headSize], k),
        tensorOf('v', type, [total, kvHeads, headSize], v),
      ],
    });
    const { ok, kind, reason } = answer.header;
    if (ok === true) return this.ranOf(c, answer);
    const failure = FAILURES.find((name) => name === kind);
    if (ok !== false || failure === undefined || typeof reason !== 'string') {
      throw this.breach('run: the answer is neither {"ok": true} nor a failure with a reason');
    }
    return { kind: failure, reason: reason.split('\n')[0].slice(0, 300) };
  }

  close(): void {
    this.process.kill();
  }

  private ask(message: Frame): Frame {
    const answer = this.process.ask(message, Number.POSITIVE_INFINITY);
    if (answer === null) throw new Error('an endless wait has ended');
    return answer;
  }

  private breach(why: string): ProcessDeath {
    this.process.kill();
    return new ProcessDeath('protocol', why);
  }

  /** The tensor of a name as bytes of one of these types; null where it may be absent and is. */
  private tensor(
    { tensors }: Frame,
    name: string,
    types: readonly string[],
    required: boolean,
  ): FrameTensor | null {
    const found = tensors.find((tensor) => tensor.name === name);
    if (found === undefined) {
      if (required) throw this.breach(`run: the answer has no tensor "${name}"`);
      return null;
    }
    if (!types.includes(found.type)) {
      const list = types.join(' or ');
      throw this.breach(`run: "${name}" has the type ${found.type}, ${list} is required`);
    }
    return found;
  }

  private ranOf(c: Case, answer: Frame): Ran {
    const records = this.capabilities.layout === 'record128';
    const output = this.tensor(answer, 'output', [wordType(c), 'f32'], true);
    const lse = this.tensor(answer, 'lse', ['f32'], this.capabilities.lse !== false);
    const window = (name: string) => halves(this.tensor(answer, name, ['f16', 'bf16'], records));
    const cache = this.tensor(answer, 'cache', ['u8'], records);
    return {
      kind: 'ran',
      cache: cache?.bytes ?? new Uint8Array(0),
      kResidual: window('k_residual'),
      vResidual: window('v_residual'),
      output: output?.type === 'f32' ? rounded(elementType(c.problem), output) : halves(output),
      lse: floats(lse),
      ...(records ? {} : { stored: this.storedOf(c, answer) }),
      violations: [],
      reports: [],
      scheduleHash: '',
    };
  }

  private storedOf(c: Case, answer: Frame): Stored {
    const optional = (name: string) => this.tensor(answer, name, ['f32', 'f16'], false);
    const [k, v, query] = [optional('k'), optional('v'), optional('query')];
    const names = answer.tensors.map(({ name }) => name);
    const isPacked = names.some((name) => name.startsWith('packed.'));
    return {
      ...(k !== null && v !== null ? { values: { k: numbers(k), v: numbers(v) } } : {}),
      ...(query === null ? {} : { query: numbers(query) }),
      ...(isPacked
        ? { packed: { k: this.packedOf(c, answer, 'k'), v: this.packedOf(c, answer, 'v') } }
        : {}),
    };
  }

  /** Arrays of the spec's layout, one entry for each request and KV head. */
  private packedOf(c: Case, answer: Frame, tensor: 'k' | 'v'): Packed[] {
    const { problem, scheme } = c;
    const spec = specOf(scheme);
    if (spec === null) return [];
    const heads = problem.tokens.flatMap((tokens) => {
      const count = quantizedTokens(tokens, this.capabilities);
      const t = headTensor(spec, scheme, tensor, count, problem.headSize);
      return Array<Readonly<Record<string, number>>>(problem.kvHeads).fill(spec.arrays(t));
    });
    const at: Record<string, number> = {};
    return heads.map((sizes, i) => {
      const entries = Object.entries(sizes).map(([name, bytes]) => {
        const all = this.tensor(answer, `packed.${tensor}.${name}`, ['u8'], true)?.bytes;
        const from = at[name] ?? 0;
        at[name] = from + bytes;
        // The last head takes the rest, so that a wrong total is seen.
        const end = i === heads.length - 1 ? undefined : at[name];
        return [name, all?.subarray(from, end) ?? new Uint8Array(0)];
      });
      return Object.fromEntries(entries) as Packed;
    });
  }
}

/** A copy, so that its start is aligned. */
function aligned(tensor: FrameTensor): ArrayBuffer {
  return tensor.bytes.slice().buffer as ArrayBuffer;
}

function halves(tensor: FrameTensor | null): Uint16Array {
  return tensor === null ? new Uint16Array(0) : new Uint16Array(aligned(tensor));
}

function floats(tensor: FrameTensor | null): Float32Array {
  return tensor === null ? new Float32Array(0) : new Float32Array(aligned(tensor));
}

function numbers(tensor: FrameTensor): Float32Array {
  return tensor.type === 'f32' ? floats(tensor) : Float32Array.from(f64Array(halves(tensor)));
}

/** An output in f32 is stored in the case's type, by the one rounding that the bound has for it. */
function rounded(type: ElementType, tensor: FrameTensor): Uint16Array {
  return elementWords(type, Float64Array.from(floats(tensor)));
}
