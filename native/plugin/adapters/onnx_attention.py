"""ONNX Runtime's attention over K and V in fp16, on the CPU.

    npx kvproof verify --kernel 'exec:python3 native/plugin/adapters/onnx_attention.py gqa'

    gqa         com.microsoft GroupQueryAttention, as a decoder calls it: a batch of requests of any
                length, whose last token is new and whose others lie in the past cache. Slots of the
                cache behind a request's tokens hold the poison of the run
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
if KIND not in ("gqa", "attention"):
    kvproof.fail("onnx_attention.py: %r is not one of gqa, attention" % KIND)


def session_of(node, inputs, outputs, **opsets):
    """inputs, outputs: [(name, element type, shape)]."""
    values = [[helper.make_tensor_value_info(*value) for value in side] for side in (inputs, outputs)]
    domains = [helper.make_opsetid("" if name == "ai" else name.replace("_", "."), version)
               for name, version in opsets.items()]
    model = helper.make_model(helper.make_graph([node], "kernel", *values), opset_imports=domains)
    model.ir_version = 10 if KIND == "gqa" else 11
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
    make, attend = (gqa_session, run_gqa) if KIND == "gqa" else (attention_session, run_attention)
    session = make(problem.query_heads, problem.kv_heads, problem.head_size,
                   float(problem.softmax_scale))
    return {"output": attend(session, problem, q, k, v)}


def supports(problem):
    # A scale of 0 is how it says that none is given, so that it is 1 / sqrt(head size).
    return "softmax scale 0 stands for the default" if problem.softmax_scale == 0 and KIND == "gqa" else None


FORMATS = [{"format": "fp16", "kAxis": ["channel"], "bits": [16], "groups": [128],
            "headSizes": [64, 128]}]
# Attention is computed in the type of its operands, by its definition; GroupQueryAttention has none.
PRECISION = {"operands": "f16", "scores": "f16" if KIND == "attention" else "f32", "weights": "f16",
             "rescaleTokens": 8192}
onnxruntime.set_default_logger_severity(4)
kvproof.serve("ONNX Runtime " + KIND, kvproof.capabilities(FORMATS, precision=PRECISION, lse=False),
              run, supports=supports,
              device={"name": "CPU", "sm": "host", "driver": "onnxruntime " + onnxruntime.__version__})
