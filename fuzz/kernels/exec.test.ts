// The process protocol from this side: a process that never becomes a kernel ends with exit code 2
// and one sentence; one that stops being one throws ProcessDeath; nothing hangs. What hostile
// kernels do while they run cases is in fuzz/conform/conform.test.ts.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Case } from '../../properties/case.js';
import { packageRoot } from '../campaign/package-root.js';
import { openExec } from './exec.js';
import { decodeBody, decodePrefix, encodeFrame, FrameError, PREFIX_BYTES } from './exec-frame.js';
import { ProcessDeath } from './process-death.js';

const plugin = join(packageRoot(), 'native', 'plugin');
const hasNumpy = spawnSync('python3', ['-c', 'import numpy']).status === 0;
const hostile = (fault: string) => `python3 '${join(plugin, 'testdata', 'hostile.py')}' ${fault}`;

function refusal(command: string, deadlineMs = 20_000): string {
  const opened = openExec(`exec:${command}`, command, deadlineMs);
  if (opened.kind === 'kernel') opened.kernel.close();
  expect(opened).toMatchObject({ kind: 'error', exitCode: 2 });
  const { message } = opened as { message: string };
  expect(message.split('\n')).toHaveLength(1);
  return message;
}

describe('openExec refuses', () => {
  it.each([
    ['no-such-program-anywhere', 'exit-127'],
    ['true', 'exit-0'],
    ['exit 7', 'exit-7'],
    ["sh -c 'kill -SEGV $$'", 'SIGSEGV'],
    // What it wrote may be there before the first question or only behind it.
    ['echo this is no kernel', /a message starts with|before it was asked/],
    ['echo >&2 its last words; exit 3', 'its last words'],
    ['yes KVP1', /bytes|before it was asked/],
    ['cat', 'hello.name'],
  ])('%j', (command, why) => {
    const message = refusal(command);
    if (typeof why === 'string') expect(message).toContain(why);
    else expect(message).toMatch(why);
  });

  it('a process that says nothing, after the deadline', () => {
    expect(refusal('sleep 30', 300)).toContain('no answer to "hello" within 0.3 s');
  });

  it.skipIf(!hasNumpy).each([
    ['garbage-hello', 'a message starts with'],
    ['other-version', 'hello.version: 9 found, 1 is required'],
    ['no-formats', 'capabilities.formats'],
  ])('the server with the fault %s', (fault, why) => {
    expect(refusal(hostile(fault))).toContain(why);
  });

  it.skipIf(!hasNumpy).each([
    ['kivi.py', 'KIVI_PATH must name a checkout of KIVI'],
    ['flashinfer_decode.py', 'FlashInfer is not installed'],
    ['flashinfer_decode.py pages', "'pages' is not one of paged, single"],
    ['vllm_triton.py', 'vLLM with vllm.v1.attention is not installed'],
    ['vllm_triton.py int4', "'int4' is not one of auto, int8"],
  ])(
    '%s: an adapter without its package or a word that it knows, in its own words',
    (call, why) => {
      const [file, ...args] = call.split(' ');
      const command = `python3 '${join(plugin, 'adapters', file)}' ${args.join(' ')}`;
      expect(refusal(`KIVI_PATH=/nowhere ${command}`)).toContain(`${file}: ${why}`);
    },
  );
});

describe.skipIf(!hasNumpy)('a kernel in a process', () => {
  const c: Case = {
    schema: 'kvproof.case/1',
    problem: { tokens: [3, 0], queryHeads: 2, kvHeads: 1, headSize: 64 },
    scheme: {
      format: 'llama-q8_0',
      kAxis: 'token',
      bits: 8,
      group: 32,
    } as unknown as Case['scheme'],
    tensors: {
      q: { distribution: 'normal', seed: 1, scale: 0, offset: 0 },
      k: { distribution: 'normal', seed: 2, scale: 0, offset: 0 },
      v: { distribution: 'normal', seed: 3, scale: 0, offset: 0 },
    },
    options: { softmaxScale: 0.125, splits: 0 },
  };
  const inputs = {
    q: new Uint16Array(2 * 2 * 64).fill(0x3c00),
    k: new Uint16Array(3 * 64).fill(0x3c00),
    v: new Uint16Array(3 * 64).fill(0x3c00),
  };

  function opened(fault: string) {
    const result = openExec('exec:hostile', hostile(fault));
    if (result.kind === 'error') throw new Error(result.message);
    return result.kernel;
  }

  it('answers, and is a process no more when it is closed', () => {
    const kernel = opened('none');
    expect(kernel.supports(c)).toBeNull();
    const ran = kernel.run(c, inputs, { poison: 255 });
    if (ran.kind !== 'ran') throw new Error(ran.reason);
    // Equal rows of V: the output is that row, 1 on the grid of 127 steps.
    expect(ran.output.subarray(0, 128).every((bits) => bits === 0x3c00)).toBe(true);
    expect(ran.output.subarray(128).every((bits) => bits === 0)).toBe(true);
    expect(ran.lse[2]).toBe(Number.NEGATIVE_INFINITY);
    kernel.close();
    expect(() => kernel.supports(c)).toThrow(ProcessDeath);
  });

  it('says what it does not support', () => {
    const kernel = opened('none');
    const other = { ...c, scheme: { ...c.scheme, bits: 4 as const } };
    expect(kernel.supports(other)).toContain('not declared');
    expect(kernel.run(other, inputs, { poison: 0 })).toMatchObject({ kind: 'unsupported' });
    kernel.close();
  });

  it.each([
    ['aborts', 'SIGABRT', /^/],
    ['exits', 'exit-3', /leaving/],
    // The second answer is there before the next question, or is taken for the answer to it.
    ['twice', 'protocol', /it wrote "KVP1|it answered message 1, 2 was asked/],
    ['other-id', 'protocol', /it answered message/],
    ['size-lie', 'protocol', /needs 16 bytes, 8 came/],
  ])('that %s dies of %s', (fault, how, detail) => {
    const kernel = opened(fault);
    try {
      kernel.run(c, inputs, { poison: 255 });
      kernel.supports(c);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(ProcessDeath);
      const death = error as ProcessDeath;
      expect(death.how).toBe(how);
      expect(death.detail).toMatch(detail);
    }
  });
});

describe('a case in bf16', () => {
  /** A process that answers 1 + 2^-8 + 2^-9 everywhere, as f32 or as words of a 16-bit type. */
  const script = (type: string) => `
import json, struct, sys
data, out = sys.stdin.buffer, sys.stdout.buffer
while True:
    head = data.read(16)
    if len(head) < 16: break
    _, h, n = struct.unpack("<4sIQ", head)
    question = json.loads(data.read(h)); data.read(n)
    if question["op"] == "hello":
        formats = [{"format": "fp16", "kAxis": ["channel"], "bits": [16], "groups": [128],
                    "headSizes": [64], "types": ["bf16"]}]
        can = {"formats": formats, "lse": False, "layout": "values", "tokensMax": 9,
               "headsPerKvMax": 1, "arithmetic": None, "tiles": [8], "deterministic": True}
        answer, body = {"version": 1, "name": "bf16", "capabilities": can}, b""
    else:
        assert [x["type"] for x in question["tensors"]] == ["bf16"] * 3
        one = struct.pack("<f", 1 + 2 ** -8 + 2 ** -9) if "${type}" == "f32" else b"\\x80\\x3f"
        answer, body = {"ok": True, "tensors": [
            {"name": "output", "type": "${type}", "shape": [1, 1, 64]}]}, one * 64
    text = json.dumps(dict({"tensors": []}, **answer, id=question["id"])).encode()
    out.write(struct.pack("<4sIQ", b"KVP1", len(text), len(body)) + text + body); out.flush()
`;
  const words = new Uint16Array(64).fill(0x3f80);
  const run = (type: string) => {
    const opened = openExec('exec:bf16', `python3 -c '${script(type)}'`);
    if (opened.kind === 'error') throw new Error(opened.message);
    const c = {
      problem: { tokens: [1], queryHeads: 1, kvHeads: 1, headSize: 64, type: 'bf16' },
      scheme: { format: 'fp16', kAxis: 'channel', bits: 16, group: 128 },
      options: { softmaxScale: 1, splits: 0 },
    } as unknown as Case;
    try {
      const ran = opened.kernel.run(c, { q: words, k: words, v: words }, { poison: 0 });
      return ran.kind === 'ran' ? [...new Set(ran.output)] : ran.reason;
    } finally {
      opened.kernel.close();
    }
  };

  it('takes an output in bf16 as it is, and rounds one in f32 to bf16', () => {
    expect(run('bf16')).toEqual([0x3f80]);
    expect(run('f32')).toEqual([0x3f81]); // 1.00586, between 1 and 1.0078
  });

  it('takes no words of another type', () => {
    expect(() => run('f16')).toThrow(/"output" has the type f16, bf16 or f32 is required/);
  });
});

describe('frames', () => {
  const frame = {
    header: { id: 3, op: 'run' },
    tensors: [
      { name: 'a', type: 'f16' as const, shape: [2, 1], bytes: Uint8Array.of(1, 2, 3, 4) },
      { name: 'b', type: 'u8' as const, shape: [0], bytes: new Uint8Array(0) },
    ],
  };

  it('come back as they went', () => {
    const bytes = Buffer.concat(encodeFrame(frame));
    const sizes = decodePrefix(bytes.subarray(0, PREFIX_BYTES));
    const end = PREFIX_BYTES + sizes.header;
    const back = decodeBody(bytes.subarray(PREFIX_BYTES, end), bytes.subarray(end));
    expect(back.header).toMatchObject(frame.header);
    const plain = back.tensors.map((t) => ({ ...t, bytes: Uint8Array.from(t.bytes) }));
    expect(plain).toEqual(frame.tensors);
  });

  it.each([
    ['{"tensors":[{"name":"a","type":"f64","shape":[1]}]}', 'not one of'],
    ['{"tensors":[{"name":"a","type":"u8","shape":[-1]}]}', 'not a list of sizes'],
    ['{"tensors":[{"name":"a","type":"u8","shape":[1e30,1e30]}]}', 'sizes'],
    ['{"tensors":[{"type":"u8","shape":[1]}]}', 'has no name'],
    ['{"tensors":[{"name":"a","type":"u8","shape":[5]}]}', 'needs 5 bytes'],
    ['{"tensors":[{"name":"a","type":"u8","shape":[1]}]}', 'their shapes need 1'],
    ['{"tensors":7}', 'not a list'],
    ['[]', 'no object'],
    ['{"a":', 'not JSON'],
  ])('%s is refused', (text, why) => {
    expect(() => decodeBody(Buffer.from(text), new Uint8Array(4))).toThrow(FrameError);
    expect(() => decodeBody(Buffer.from(text), new Uint8Array(4))).toThrow(why);
  });
});
