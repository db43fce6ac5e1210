"""ONNX Runtime's attention over K and V in fp16 or in a cache of 8 or 4 bits, on the CPU.

    npx kvproof verify --kernel 'exec:python3 native/plugin/adapters/onnx_attention.py gqa'

    gqa         com.microsoft GroupQueryAttention, as a decoder calls it: a batch of requests of any
                length, whose last token is new and whose others lie in the past cache. Slots of the
                cache behind a request's tokens hold the poison of the run
    gqa-int8    the same operator with an int8 cache, PER_CHANNEL, one request after another: the prompt
    gqa-int4    fills the cache, and the last token is new. Scales are calibrated on the request itself
    attention   Attention of ONNX, one request after another

Requests without a token are no call that either defines; they are left out.
"""

import functools
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
import kvproof

try:
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper
except ImportError as error:
    kvproof.fail("onnx_attention.py: `pip install onnx onnxruntime` installs what is missing (%s)" % error)

KIND = sys.argv[1] if len(sys.argv) > 1 else "gqa"
KINDS = ("gqa", "gqa-int8", "gqa-int4", "attention")
if KIND not in KINDS:
    kvproof.fail("onnx_attention.py: %r is not one of %s" % (KIND, ", ".join(KINDS)))
BITS = int(KIND[7:] or 16) if KIND.startswith("gqa") else 16


def session_of(node, inputs, outputs, **opsets):
    """inputs, outputs: [(name, element type, shape)]."""
    values = [[helper.make_tensor_value_info(*value) for value in side] for side in (inputs, outputs)]
    domains = [helper.make_opsetid("" if name == "ai" else name.replace("_", "."), version)
               for name, version in opsets.items()]
    model = helper.make_model(helper.make_graph([node], "kernel", *values), opset_imports=domains)
    model.ir_version = 11 if KIND == "attention" else 10
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@functools.lru_cache(maxsize=64)
def gqa_session(heads, kv_heads, size, scale):
    half, i32 = TensorProto.FLOAT16, TensorProto.INT32
    names = ["query", "key", "value", "past_key", "past_value", "seqlens_k", "total"]
    node = helper.make_node("GroupQueryAttention", names, ["output", "present_key", "present_value"],
                            domain="com.microsoft", num_heads=heads, kv_num_heads=kv_heads, scale=scale)
    rows = [("key", half, ["batch", 1, kv_heads * size]), ("value", half, ["batch", 1, kv_heads * size])]
    past = [(name, half, ["batch", kv_heads, "past", size]) for name in names[3:5]]
    present = [(name, half, ["batch", kv_heads, "slots", size]) for name in ("present_key", "present_value")]
    query = ["batch", 1, heads * size]
    return session_of(node, [("query", half, query), *rows, *past, ("seqlens_k", i32, ["batch"]),
                             ("total", i32, [1])],
                      [("output", half, query), *present], ai=21, com_microsoft=1)


@functools.lru_cache(maxsize=64)
def quantized_session(heads, kv_heads, size, scale):
    half, f32, i32 = TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.INT32
    kept, width = (TensorProto.INT8, size) if BITS == 8 else (TensorProto.UINT8, size // 2)
    names = ["query", "key", "value", "past_key", "past_value", "seqlens_k", "total"]
    scales = ["k_scale", "v_scale"]
    node = helper.make_node("GroupQueryAttention", names + [""] * 5 + scales,
                            ["output", "present_key", "present_value"], domain="com.microsoft",
                            num_heads=heads, kv_num_heads=kv_heads, scale=scale,
                            k_quant_type="PER_CHANNEL", v_quant_type="PER_CHANNEL",
                            kv_cache_bit_width=BITS)
    rows = [(name, half, ["batch", "new", count * size])
            for name, count in (("query", heads), ("key", kv_heads), ("value", kv_heads))]
    past = [(name, kept, ["batch", kv_heads, "past", width]) for name in names[3:5]]
    present = [("present_" + name, kept, ["batch", kv_heads, "slots", width]) for name in ("key", "value")]
    return session_of(node, [*rows, *past, ("seqlens_k", i32, ["batch"]), ("total", i32, [1]),
                             *[(name, f32, [kv_heads, 1, size]) for name in scales]],
                      [("output", half, ["batch", "new", heads * size]), *present],
                      ai=21, com_microsoft=1)


@functools.lru_cache(maxsize=64)
def attention_session(heads, kv_heads, size, scale):
    half = TensorProto.FLOAT16
    node = helper.make_node("Attention", ["q", "k", "v"], ["output"], scale=scale)
    rows = [(name, half, [1, kv_heads, "tokens", size]) for name in ("k", "v")]
    return session_of(node, [("q", half, [1, heads, 1, size]), *rows],
                      [("output", half, [1, heads, 1, size])], ai=23)


def run_gqa(session, problem, q, k, v):
    chosen = [r for r, tokens in enumerate(problem.tokens) if tokens > 0]
    output = np.zeros(q.shape, np.float16)
    if not chosen:
        return output
    longest = max(problem.tokens)
    shape = (len(chosen), problem.kv_heads, longest - 1, problem.head_size)
    poison = np.frombuffer(bytes([problem.poison] * 2), np.float16)[0]
    past = {"k": np.full(shape, poison), "v": np.full(shape, poison)}
    new = {}
    for name, x in (("k", k), ("v", v)):
        for item, request in enumerate(chosen):
            own = x[problem.first[request]:problem.first[request + 1]]
            past[name][item, :, :len(own) - 1] = own[:-1].transpose(1, 0, 2)
        new[name] = np.stack([x[problem.first[r + 1] - 1].reshape(1, -1) for r in chosen])
    lengths = np.array([problem.tokens[r] - 1 for r in chosen], np.int32)
    rows = session.run(["output"], {
        "query": q[chosen].reshape(len(chosen), 1, -1), "key": new["k"], "value": new["v"],
        "past_key": past["k"], "past_value": past["v"], "seqlens_k": lengths,
        "total": np.array([longest], np.int32)})[0]
    output[chosen] = rows.reshape(len(chosen), problem.query_heads, problem.head_size)
    return output


def calibrated(x):
    """x (tokens, kv_heads, size) -> scales (kv_heads, 1, size), of the finite values."""
    largest = np.abs(np.where(np.isfinite(x), x, 0)).max(axis=0).astype(np.float32)
    top = np.float32(2 ** (BITS - 1) - 1)
    return np.where(largest == 0, np.float32(1), largest / top)[:, None]


def steps(session, own, query, scales, kv_heads, size):
    """The prompt, whose queries are zero, and the step of the last token: its output and the cache."""
    tokens = len(own["key"])
    width, kind = (size, np.int8) if BITS == 8 else (size // 2, np.uint8)
    past = [np.zeros((1, kv_heads, 0, width), kind) for _ in "kv"]
    out = None
    for first, last, asked in ((0, tokens - 1, None), (tokens - 1, tokens, query)):
        if first == last:
            continue
        new = {name: x[None, first:last].reshape(1, last - first, -1) for name, x in own.items()}
        queries = np.zeros((1, last - first, query.size), np.float16) if asked is None else asked
        out, *past = session.run(None, {
            "query": queries.reshape(1, last - first, -1), **new, "past_key": past[0],
            "past_value": past[1], "seqlens_k": np.array([last - 1], np.int32),
            "total": np.array([last], np.int32), **scales})
    return out, past


def run_quantized(session, problem, q, k, v):
    output = np.zeros(q.shape, np.float16)
    names = ("k.codes", "k.scale", "v.codes", "v.scale")
    arrays = {name: [np.empty(0, np.uint8)] for name in names}
    for request, tokens in enumerate(problem.tokens):
        if tokens == 0:
            continue
        rows = slice(problem.first[request], problem.first[request + 1])
        own = {"key": k[rows], "value": v[rows]}
        scales = {name[0] + "_scale": calibrated(x) for name, x in own.items()}
        out, cache = steps(session, own, q[request], scales, problem.kv_heads, problem.head_size)
        output[request] = out[0, 0].reshape(problem.query_heads, problem.head_size)
        for head in range(problem.kv_heads):
            for name, codes in zip("kv", cache):
                arrays[name + ".codes"].append(codes[0, head].view(np.uint8).reshape(-1))
                arrays[name + ".scale"].append(scales[name + "_scale"][head, 0].view(np.uint8))
    return dict({"packed." + name: np.concatenate(parts) for name, parts in arrays.items()},
                output=output)


def run_attention(session, problem, q, k, v):
    output = np.zeros(q.shape, np.float16)
    for request, tokens in enumerate(problem.tokens):
        if tokens == 0:
            continue
        own = slice(problem.first[request], problem.first[request + 1])
        keys, values = [np.ascontiguousarray(x[own].transpose(1, 0, 2)[None]) for x in (k, v)]
        output[request] = session.run(["output"], {"q": q[request][None, :, None], "k": keys,
                                                   "v": values})[0][0, :, 0]
    return output


def run(problem, q, k, v):
    shape = (problem.query_heads, problem.kv_heads, problem.head_size, float(problem.softmax_scale))
    if BITS < 16:
        return run_quantized(quantized_session(*shape), problem, q, k, v)
    make, attend = (gqa_session, run_gqa) if KIND == "gqa" else (attention_session, run_attention)
    return {"output": attend(make(*shape), problem, q, k, v)}


def supports(problem):
    # A scale of 0 is how it says that none is given, so that it is 1 / sqrt(head size).
    return "softmax scale 0 stands for the default" if problem.softmax_scale == 0 and KIND != "attention" else None


def declared(group, sizes):
    return {"format": "fp16" if BITS == 16 else "onnx-gqa-per-channel", "kAxis": ["channel"],
            "bits": [BITS], "groups": [group], "headSizes": sizes}


# A group of all tokens is written as the head size.
FORMATS = [declared(128, [64, 128])] if BITS == 16 else [declared(64, [64]), declared(128, [128])]
# Attention is computed in the type of its operands, by its definition; GroupQueryAttention has none.
PRECISION = {"operands": "f16", "scores": "f16" if KIND == "attention" else "f32", "weights": "f16",
             "rescaleTokens": 8192}
onnxruntime.set_default_logger_severity(4)
kvproof.serve("ONNX Runtime " + KIND, kvproof.capabilities(FORMATS, precision=PRECISION, lse=False),
              run, supports=supports,
              device={"name": "CPU", "sm": "host", "driver": "onnxruntime " + onnxruntime.__version__})
