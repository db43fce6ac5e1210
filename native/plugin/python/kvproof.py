"""kvproof.py - a kernel in Python for kvproof: --kernel 'exec:python3 my_kernel.py'

Write one function and hand it to serve():

    import kvproof

    def run(problem, q, k, v):            # fp16 arrays, shapes below
        return {"output": ..., "lse": ...}

    kvproof.serve("my kernel", kvproof.capabilities(...), run)

q (requests, query_heads, head_size); k, v (sum of tokens, kv_heads, head_size), the requests one
after another. The answer holds
    output              fp16 or float32, (requests, query_heads, head_size)
    lse                 float32, (requests, query_heads): natural log of the sum of exponentials;
                        absent if the capabilities say "lse": False
and, for the layout "values", what the cache holds, as much as there is access to:
    k, v                dequantised, fp16 or float32, as the inputs
    packed.k.ARRAY      bytes in the layout of the format's spec (reference/formats), one request
    packed.v.ARRAY      and KV head after another
    query               queries as the kernel uses them, if it quantises them too
for the layout "record128": cache (uint8), k_residual, v_residual (fp16), as
native/plugin/kernel_abi.h describes them. The protocol itself is in native/plugin/README.md.

Arrays are numpy's where numpy is installed, else torch's. What run() prints goes to the error
output. An exception ends the case, not the process: Unsupported and DeviceError say which kind.
This file needs nothing but Python 3.8 and one of the two packages.
"""

import json
import os
import struct
import sys
import traceback

try:
    import numpy
except ImportError:
    numpy = None
try:
    import torch
except ImportError:
    torch = None

_PREFIX = struct.Struct("<4sIQ")
_TYPES = {"u8": "uint8", "f16": "float16", "bf16": "bfloat16", "f32": "float32",
          "i32": "int32", "i64": "int64"}


class Unsupported(Exception):
    """The kernel does not implement this case."""


class DeviceError(Exception):
    """The device reported an error; the process will be replaced."""


class Problem:
    """One case: shapes, format, options, and the byte that outputs should hold before."""

    def __init__(self, header):
        problem, scheme, options = header["problem"], header["scheme"], header["options"]
        self.tokens = problem["tokens"]
        self.query_heads = problem["queryHeads"]
        self.kv_heads = problem["kvHeads"]
        self.head_size = problem["headSize"]
        self.type = problem.get("type", "fp16")
        self.query_tokens = problem.get("queryTokens", 1)
        self.format = scheme["format"]
        self.k_axis = scheme["kAxis"]
        self.bits = scheme["bits"]
        self.group = scheme["group"]
        self.softmax_scale = options["softmaxScale"]
        self.splits = options["splits"]
        self.options = options
        self.poison = header.get("poison", 255)

    @property
    def first(self):
        """Where the tokens of each request start in k and v, and where the last ends."""
        first = [0]
        for tokens in self.tokens:
            first.append(first[-1] + tokens)
        return first


def capabilities(formats, layout="values", tokens_max=8192, heads_per_kv_max=64, **others):
    """The declaration. formats: [{"format", "kAxis", "bits", "groups", "headSizes"}], lists each.

    Others, by their names in properties/kernel.ts: precision, blockTokens, tokensMultiple, lse,
    eitherTie, batchInvariant, complete, deterministic, tiles, arithmetic.
    """
    declared = {"formats": formats, "layout": layout, "tokensMax": tokens_max,
                "headsPerKvMax": heads_per_kv_max, "arithmetic": None, "tiles": [8, 16, 128],
                "deterministic": True}
    declared.update(others)
    return declared


def refusal(declared, problem):
    """Why the declaration excludes a case, or None."""
    def fits(f):
        return (problem.format == f["format"] and problem.k_axis in f["kAxis"]
                and problem.bits in f["bits"] and problem.group in f["groups"]
                and problem.head_size in f["headSizes"]
                and problem.type in f.get("types", ["fp16"]))
    if not any(fits(f) for f in declared["formats"]):
        return "%s of %d bits in groups of %d, K by %s, head size %d, %s: not declared" % (
            problem.format, problem.bits, problem.group, problem.k_axis, problem.head_size,
            problem.type)
    longest = max(problem.tokens)
    if longest > declared["tokensMax"]:
        return "%d tokens, at most %d" % (longest, declared["tokensMax"])
    multiple = declared.get("tokensMultiple", 1)
    if any(n % multiple for n in problem.tokens):
        return "tokens are not a multiple of %d" % multiple
    ratio = problem.query_heads // problem.kv_heads
    if problem.query_heads % problem.kv_heads or ratio > declared["headsPerKvMax"]:
        return "%d query heads on %d KV heads, at most %d on each" % (
            problem.query_heads, problem.kv_heads, declared["headsPerKvMax"])
    if problem.query_tokens > declared.get("queryTokensMax", 1):
        return "%d query tokens" % problem.query_tokens
    for option, name in (("pages", "paged"), ("appended", "append"), ("inputPadding", "strided")):
        if problem.options.get(option) and not declared.get(name):
            return "options.%s is not supported" % option
    return None


def _array(data, kind, shape):
    if numpy is not None and kind != "bf16":
        return numpy.frombuffer(data, dtype=_TYPES[kind]).reshape(shape)
    if torch is None:
        raise RuntimeError("numpy or torch is required")
    if not data:
        return torch.empty(shape, dtype=getattr(torch, _TYPES[kind]))
    return torch.frombuffer(bytearray(data), dtype=getattr(torch, _TYPES[kind])).reshape(shape)


def _bytes(name, x):
    """(type, shape, bytes) of an array of numpy or torch."""
    if torch is not None and isinstance(x, torch.Tensor):
        x = x.detach().cpu().contiguous()
        kind = str(x.dtype).replace("torch.", "")
        shape = list(x.shape)
        data = bytes(x.view(torch.uint8).numpy().tobytes() if numpy is not None
                     else x.reshape(-1).view(torch.uint8).tolist()) if x.numel() else b""
    else:
        x = numpy.ascontiguousarray(x)
        kind, shape, data = str(x.dtype), list(x.shape), x.tobytes()
    names = [short for short, long in _TYPES.items() if long == kind]
    if not names:
        raise TypeError("%s: arrays of %s cannot be sent" % (name, kind))
    return names[0], shape, data


def _read(stream, count):
    data = b""
    while len(data) < count:
        part = stream.read(count - len(data))
        if not part:
            raise SystemExit(0)  # kvproof is gone
        data = part if not data else data + part
    return data


def _receive(stream):
    magic, header_bytes, tensor_bytes = _PREFIX.unpack(_read(stream, _PREFIX.size))
    if magic != b"KVP1":
        raise SystemExit("kvproof.py: the input is not a message of kvproof")
    header = json.loads(_read(stream, header_bytes))
    body = memoryview(_read(stream, tensor_bytes))
    tensors, at = {}, 0
    for listed in header["tensors"]:
        size = 2 if listed["type"] in ("f16", "bf16") else 4
        for n in listed["shape"]:
            size *= n
        tensors[listed["name"]] = _array(body[at:at + size], listed["type"], listed["shape"])
        at += size
    return header, tensors


def _send(stream, header, arrays=None):
    listed, parts = [], []
    for name, x in (arrays or {}).items():
        kind, shape, data = _bytes(name, x)
        listed.append({"name": name, "type": kind, "shape": shape})
        parts.append(data)
    text = json.dumps(dict(header, tensors=listed)).encode()
    stream.write(_PREFIX.pack(b"KVP1", len(text), sum(map(len, parts))) + text)
    for part in parts:
        stream.write(part)
    stream.flush()


def _run(run, reason, problem, tensors):
    if reason is not None:
        return {"ok": False, "kind": "unsupported", "reason": reason}, {}
    try:
        return {"ok": True}, run(problem, tensors["q"], tensors["k"], tensors["v"])
    except Exception as error:
        traceback.print_exc()
        kind = ("unsupported" if isinstance(error, Unsupported)
                else "device-error" if isinstance(error, DeviceError) else "refused")
        text = " ".join(str(error).split()) or type(error).__name__
        return {"ok": False, "kind": kind, "reason": "%s: %s" % (type(error).__name__, text)}, {}


def serve(name, declared, run, supports=None, device=None):
    """Answers until kvproof closes the pipe. supports(problem): a reason to decline, or None."""
    source = os.fdopen(os.dup(0), "rb")
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed must not end up between the messages
    while True:
        header, tensors = _receive(source)
        answer, arrays = {"id": header["id"]}, None
        if header["op"] != "hello":
            problem = Problem(header)
            reason = refusal(declared, problem)
            if reason is None and supports is not None:
                reason = supports(problem)
        if header["op"] == "hello":
            answer.update(version=1, name=name, device=device, capabilities=declared)
        elif header["op"] == "supports":
            answer.update(reason=reason)
        else:
            result, arrays = _run(run, reason, problem, tensors)
            answer.update(result)
        _send(target, answer, arrays)


def torch_device():
    """The device of torch, as serve() takes it."""
    driver = "torch " + torch.__version__
    if not torch.cuda.is_available():
        return {"name": "CPU", "sm": "host", "driver": driver}
    return {"name": torch.cuda.get_device_name(), "driver": driver,
            "sm": "sm_%d%d" % torch.cuda.get_device_capability()}


def fail(sentence):
    """Tells kvproof in one sentence why there is no kernel here, and ends the process."""
    print(sentence, file=sys.stderr)
    try:
        header, _ = _receive(os.fdopen(os.dup(0), "rb"))
        _send(os.fdopen(os.dup(1), "wb"), {"id": header["id"], "error": sentence})
    except SystemExit:
        pass  # nobody asked
    raise SystemExit(2)
