"""ggml (llama.cpp) on the CPU: flash attention over a cache of q8_0, q4_0 or f16.

    GGML_LIB=/path/to/folder/of/libggml-cpu.so \\
    npx kvproof verify --kernel 'exec:python3 native/plugin/adapters/ggml_cpu.py q8_0'

The cache is laid out as llama.cpp has it: token by token, all KV heads of a token together, as many
slots as the longest request rounded up to 256, a mask of -Inf over the slots that hold no token.
What lies in those slots is the poison of the run, as finite numbers. Codes come from the library's
own from_float, attention from ggml_flash_attn_ext; `splits` is the number of threads.
"""

import ctypes
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
import kvproof

try:
    import numpy as np
except ImportError:
    kvproof.fail("ggml_cpu.py: numpy is not installed, `pip install numpy` installs it")

TYPES = {"f16": 1, "q4_0": 2, "q8_0": 8}
BITS = {"f16": 16, "q4_0": 4, "q8_0": 8}
F32 = 0
SLOTS = 256
THREADS_MAX = 4


def load():
    folder = os.environ.get("GGML_LIB", "")
    try:
        paths = [os.path.join(folder, name) for name in ("libggml-base.so", "libggml-cpu.so")]
        base, cpu = [ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL) for path in paths]
    except OSError as error:
        kvproof.fail("ggml_cpu.py: GGML_LIB must name the folder of libggml-base.so and "
                     "libggml-cpu.so (%s)" % error)
    return base, cpu


KIND = sys.argv[1] if len(sys.argv) > 1 else "q8_0"
HEAD_SIZES = [int(x) for x in sys.argv[2].split(",")] if len(sys.argv) > 2 else [128]
if KIND not in TYPES:
    kvproof.fail("ggml_cpu.py: %r is not one of %s" % (KIND, ", ".join(TYPES)))
BASE, CPU = load()


class InitParams(ctypes.Structure):
    _fields_ = [("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p),
                ("no_alloc", ctypes.c_bool)]


FROM_FLOAT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)


class TypeTraitsCpu(ctypes.Structure):
    _fields_ = [("from_float", FROM_FLOAT), ("vec_dot", ctypes.c_void_p),
                ("vec_dot_type", ctypes.c_int), ("nrows", ctypes.c_int64)]


class TypeTraits(ctypes.Structure):
    _fields_ = [("type_name", ctypes.c_char_p), ("blck_size", ctypes.c_int64),
                ("blck_size_interleave", ctypes.c_int64), ("type_size", ctypes.c_size_t),
                ("is_quantized", ctypes.c_bool), ("to_float", FROM_FLOAT),
                ("from_float_ref", FROM_FLOAT)]


def declare(library, name, result, *arguments):
    function = getattr(library, name)
    function.restype, function.argtypes = result, list(arguments)
    return function


P, I64 = ctypes.c_void_p, ctypes.c_int64
ggml_init = declare(BASE, "ggml_init", P, InitParams)
ggml_free = declare(BASE, "ggml_free", None, P)
new_tensor = declare(BASE, "ggml_new_tensor_4d", P, P, ctypes.c_int, I64, I64, I64, I64)
get_data = declare(BASE, "ggml_get_data", P, P)
row_size = declare(BASE, "ggml_row_size", ctypes.c_size_t, ctypes.c_int, I64)
permute = declare(BASE, "ggml_permute", P, P, P, *[ctypes.c_int] * 4)
flash_attn = declare(BASE, "ggml_flash_attn_ext", P, P, P, P, P, P, *[ctypes.c_float] * 3)
new_graph = declare(BASE, "ggml_new_graph", P, P)
expand = declare(BASE, "ggml_build_forward_expand", None, P, P)
compute = declare(CPU, "ggml_graph_compute_with_ctx", ctypes.c_int, P, P, ctypes.c_int)
cpu_traits = declare(CPU, "ggml_get_type_traits_cpu", ctypes.POINTER(TypeTraitsCpu), ctypes.c_int)
traits = declare(BASE, "ggml_get_type_traits", ctypes.POINTER(TypeTraits), ctypes.c_int)
declare(CPU, "ggml_cpu_init", None)()


def from_float(kind, x):
    """x (rows, n) float32 -> bytes (rows, row bytes), by the library."""
    rows, n = x.shape
    out = np.empty((rows, row_size(kind, n)), np.uint8)
    function = cpu_traits(kind).contents.from_float
    for row in range(rows):
        function(x[row].ctypes.data, out[row].ctypes.data, n)
    return out


def to_float(kind, data, n):
    out = np.empty((data.shape[0], n), np.float32)
    function = traits(kind).contents.to_float
    for row in range(data.shape[0]):
        function(data[row].ctypes.data, out[row].ctypes.data, n)
    return out


def fill(tensor, x):
    ctypes.memmove(get_data(tensor), x.ctypes.data, x.nbytes)


def caches(problem, x, kind, slots):
    """The cache as llama.cpp has it, (requests, slots, kv_heads, row bytes)."""
    size = row_size(kind, problem.head_size)
    shape = (len(problem.tokens), slots, problem.kv_heads, size)
    # Finite in every format: a scale with the byte 0x5a twice is 203.25.
    cache = np.full(shape, 0x5A if problem.poison == 0xFF else problem.poison & 0x7B, np.uint8)
    for request, tokens in enumerate(problem.tokens):
        first = problem.first[request]
        rows = np.ascontiguousarray(x[first:first + tokens], np.float32)
        data = from_float(kind, rows.reshape(-1, problem.head_size))
        cache[request, :tokens] = data.reshape(tokens, problem.kv_heads, size)
    return cache


def attend(problem, q, k_cache, v_cache, slots):
    requests, kind = len(problem.tokens), TYPES[KIND]
    size, heads, kv_heads = problem.head_size, problem.query_heads, problem.kv_heads
    mask = np.full((requests, slots), -np.inf, np.float16)
    for request, tokens in enumerate(problem.tokens):
        mask[request, :tokens] = 0
    need = k_cache.nbytes * 2 + q.nbytes * 4 + mask.nbytes + (64 << 20)
    context = ggml_init(InitParams(need, None, False))
    try:
        tq = new_tensor(context, F32, size, heads, 1, requests)
        tk = new_tensor(context, kind, size, kv_heads, slots, requests)
        tv = new_tensor(context, kind, size, kv_heads, slots, requests)
        tm = new_tensor(context, TYPES["f16"], slots, 1, 1, requests)
        for tensor, x in ((tq, q), (tk, k_cache), (tv, v_cache), (tm, mask)):
            fill(tensor, x)
        out = flash_attn(context, permute(context, tq, 0, 2, 1, 3), permute(context, tk, 0, 2, 1, 3),
                         permute(context, tv, 0, 2, 1, 3), tm, problem.softmax_scale, 0.0, 0.0)
        graph = new_graph(context)
        expand(graph, out)
        threads = min(max(problem.splits, 1), THREADS_MAX)
        status = compute(context, graph, threads)
        if status != 0:
            raise RuntimeError("ggml_graph_compute_with_ctx returned %d" % status)
        output = np.empty((requests, heads, size), np.float32)
        ctypes.memmove(output.ctypes.data, get_data(out), output.nbytes)
        return output
    finally:
        ggml_free(context)


def by_head(problem, cache):
    """One request and KV head after another, without the empty slots."""
    parts = [cache[request, :tokens, head].reshape(-1)
             for request, tokens in enumerate(problem.tokens)
             for head in range(problem.kv_heads)]
    return np.concatenate(parts) if parts else np.empty(0, np.uint8)


def run(problem, q, k, v):
    kind = TYPES[KIND]
    slots = max(SLOTS, -(-max(problem.tokens) // SLOTS) * SLOTS)
    queries = np.ascontiguousarray(q, np.float32)
    k_cache, v_cache = [caches(problem, x, kind, slots) for x in (k, v)]
    answer = {"output": attend(problem, queries, k_cache, v_cache, slots)}
    if KIND != "f16":
        used = cpu_traits(kind).contents.vec_dot_type
        rows = queries.reshape(-1, problem.head_size)
        answer["query"] = to_float(used, from_float(used, rows), problem.head_size).reshape(q.shape)
        answer["packed.k.blocks"] = by_head(problem, k_cache)
        answer["packed.v.blocks"] = by_head(problem, v_cache)
    return answer


if KIND == "f16":
    FORMATS = [{"format": "fp16", "kAxis": ["channel"], "bits": [16], "groups": [128],
                "headSizes": HEAD_SIZES}]
else:
    FORMATS = [{"format": "llama-" + KIND, "kAxis": ["token"], "bits": [BITS[KIND]],
                "groups": [32], "headSizes": HEAD_SIZES}]
PRECISION = {"operands": "f16" if KIND == "f16" else "f32", "scores": "f32", "weights": "f32",
             "rescaleTokens": 1}
kvproof.serve("ggml flash_attn_ext " + KIND,
              kvproof.capabilities(FORMATS, precision=PRECISION, lse=False, eitherTie=True,
                                   quantizesQuery=KIND != "f16",
                                   tiles=[8, 16, 32, 64, 256]), run)
