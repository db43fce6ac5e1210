"""FlashInfer's decode kernels over K and V in fp16 or bf16, on a GPU.

    npx kvproof verify --kernel 'exec:python3 native/plugin/adapters/flashinfer_decode.py paged'

    first argument    paged: BatchDecodeWithPagedKVCacheWrapper, all requests in one call, their pages
                      of 16 tokens in any order (paged_cache.py)
                      single: single_decode_with_kv_cache, one request after another
    second argument   fp16 (default) or bf16
    third argument    head sizes, 64,128 if there is none
    fourth argument   cuda-cores (default) or tensor-cores
FlashInfer compiles a module for each head size. That is done before the first answer, and takes
minutes where nothing is cached: the same command with `< /dev/null` behind it does nothing else.
A request without tokens is left out of the call. Ratios of heads for which there is no kernel are
declined by the run. An fp8 cache is not declared: its scale is given, which a case cannot say.
"""

import inspect
import math
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
import kvproof

ARGUMENTS = dict(enumerate(sys.argv))
MODE, TYPE = ARGUMENTS.get(1, "paged"), ARGUMENTS.get(2, "fp16")
HEAD_SIZES = [int(x) for x in ARGUMENTS.get(3, "64,128").split(",")]
CORES = ARGUMENTS.get(4, "cuda-cores")
for found, choices in ((MODE, ("paged", "single")), (TYPE, ("fp16", "bf16")),
                       (CORES, ("cuda-cores", "tensor-cores"))):
    if found not in choices:
        kvproof.fail("flashinfer_decode.py: %r is not one of %s" % (found, ", ".join(choices)))
try:
    import torch
    import flashinfer
    from paged_cache import Pages
except ImportError as error:
    kvproof.fail("flashinfer_decode.py: FlashInfer is not installed, `pip install flashinfer-python` "
                 "installs it (%s)" % error)
if not torch.cuda.is_available():
    kvproof.fail("flashinfer_decode.py: no CUDA device answers, FlashInfer needs one")

DEVICE = "cuda"
DTYPE = torch.float16 if TYPE == "fp16" else torch.bfloat16
TENSOR_CORES = CORES == "tensor-cores"
PAGE = 16
WORKSPACE_BYTES = 128 * 1024 * 1024  # what its documentation recommends
single = flashinfer.single_decode_with_kv_cache
# Of a single request the newer versions give it, those before 0.6 do not.
LSE = MODE == "paged" or "return_lse" in inspect.signature(single).parameters


def decode_paged(q, k, v, tokens, softmax_scale, poison):
    pages = Pages(tokens, PAGE, DEVICE)
    counts = [len(own) for own in pages.of_request]
    whole = lambda x: torch.tensor(x, dtype=torch.int32, device=DEVICE)
    WRAPPER.plan(whole([sum(counts[:request]) for request in range(len(counts) + 1)]),
                 whole(sum(pages.of_request, [])),
                 whole([n - (count - 1) * PAGE for n, count in zip(tokens, counts)]),
                 q.shape[1], k.shape[1], q.shape[2], PAGE, q_data_type=DTYPE, kv_data_type=DTYPE,
                 sm_scale=softmax_scale)
    return WRAPPER.run(q, (pages.filled(poison, k), pages.filled(poison, v)), return_lse=True)


def decode_single(q, k, v, tokens, softmax_scale, poison):
    output, lse, start = [], [], 0
    others = {"return_lse": True} if LSE else {}
    for request, n in enumerate(tokens):
        found = single(q[request], k[start:start + n], v[start:start + n], sm_scale=softmax_scale,
                       use_tensor_cores=TENSOR_CORES, **others)
        start += n
        output.append(found[0] if LSE else found)
        lse.append(found[1] if LSE else None)
    return torch.stack(output), torch.stack(lse) if LSE else None


def decode(*case):
    """q (requests, heads, size), k and v (sum of tokens, KV heads, size), tokens, none of them 0, the
    scale and the poison -> output as q, lse (requests, heads) to the base 2, or None."""
    try:
        return (decode_paged if MODE == "paged" else decode_single)(*case)
    except RuntimeError as error:
        text = str(error).split("\n")[0]
        if "Unsupported group_size" in str(error):
            raise kvproof.Unsupported(text)
        if "CUDA error" in str(error):
            raise kvproof.DeviceError(text)
        raise


def run(problem, q, k, v):
    q, k, v = [torch.as_tensor(x.copy() if hasattr(x, "copy") else x).to(DEVICE) for x in (q, k, v)]
    output = torch.zeros(q.shape, dtype=DTYPE, device=DEVICE)
    lse = torch.full(q.shape[:2], -math.inf, dtype=torch.float32, device=DEVICE)
    some = [request for request, n in enumerate(problem.tokens) if n > 0]
    if some:
        tokens = [problem.tokens[request] for request in some]
        output[some], log2 = decode(q[some], k, v, tokens, problem.softmax_scale, problem.poison)
        if LSE:
            lse[some] = log2 * math.log(2)
    return {"output": output, "lse": lse} if LSE else {"output": output}


WRAPPER = flashinfer.BatchDecodeWithPagedKVCacheWrapper(
    torch.zeros(WORKSPACE_BYTES, dtype=torch.uint8, device=DEVICE), "NHD",
    use_tensor_cores=TENSOR_CORES) if MODE == "paged" else None
for head_size in HEAD_SIZES:
    nothing = torch.zeros((1, 1, head_size), dtype=DTYPE, device=DEVICE)
    decode(nothing, nothing, nothing, [1], 1.0, 0)
FORMATS = [{"format": "fp16", "kAxis": ["channel"], "bits": [16], "groups": [128],
            "headSizes": HEAD_SIZES, "types": [TYPE]}]
# Weights stay in f32 on CUDA cores, but parts of a split request are stored in the type of the
# output, one rounding that is as large.
ROUNDED = "f16" if TYPE == "fp16" else "bf16"
PRECISION = {"operands": ROUNDED, "scores": "f32", "weights": ROUNDED, "rescaleTokens": 8}
kvproof.serve("FlashInfer %s %s" % (flashinfer.__version__, " ".join((MODE, TYPE, CORES))),
              kvproof.capabilities(FORMATS, precision=PRECISION, lse=LSE,
                                   heads_per_kv_max=64 if TENSOR_CORES else 8),
              run, device=kvproof.torch_device())
