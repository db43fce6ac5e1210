"""vLLM's Triton attention over its paged cache, on a GPU: unified_attention, as the backend
TRITON_ATTN calls it for a step of decoding.

    npx kvproof verify --kernel 'exec:python3 native/plugin/adapters/vllm_triton.py int8'

    first argument    auto: K and V as they come, written by triton_reshape_and_cache_flash
                      int8: kv_cache_dtype int8_per_token_head, a scale for each token of a KV head,
                      written by triton_reshape_and_cache_flash_per_token_head_quant
    second argument   3d (default): a request is cut into 16 segments, whose results are reduced
                      2d: a request is one loop over its tokens
    third argument    fp16 (default) or bf16, of the queries, and of K and V where they are not int8
    fourth argument   head sizes, 64,128 if there is none
Blocks have 16 tokens and lie in any order (paged_cache.py). A request without tokens is left out of
the call. unified_attention gives no lse. Triton compiles anew for each number of heads: cases are
slow until its cache, TRITON_CACHE_DIR, has them. An fp8 cache is not declared: its scale is
given, which a case cannot say. Versions whose _custom_ops still have paged_attention_v1 are driven
through the same functions.
"""

import inspect
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
import kvproof

ARGUMENTS = dict(enumerate(sys.argv))
CACHE, LAUNCH, TYPE = [ARGUMENTS.get(i + 1, x) for i, x in enumerate(("auto", "3d", "fp16"))]
HEAD_SIZES = [int(x) for x in ARGUMENTS.get(4, "64,128").split(",")]
for found, choices in ((CACHE, ("auto", "int8")), (LAUNCH, ("2d", "3d")), (TYPE, ("fp16", "bf16"))):
    if found not in choices:
        kvproof.fail("vllm_triton.py: %r is not one of %s" % (found, ", ".join(choices)))
try:
    import torch
    import vllm
    from vllm.v1.attention.ops import triton_reshape_and_cache_flash as writers
    from vllm.v1.attention.ops.triton_unified_attention import unified_attention
    from paged_cache import Pages
except ImportError as error:
    kvproof.fail("vllm_triton.py: vLLM with vllm.v1.attention is not installed, `pip install vllm` "
                 "installs it (%s)" % error)
if not torch.cuda.is_available():
    kvproof.fail("vllm_triton.py: no CUDA device answers, vLLM's kernels need one")
QUANTIZED = CACHE == "int8"
if QUANTIZED and "kv_quant_mode" not in inspect.signature(unified_attention).parameters:
    kvproof.fail("vllm_triton.py: this vLLM, %s, has no cache of int8_per_token_head" % vllm.__version__)
if QUANTIZED:
    from vllm.v1.kv_cache_interface import KVQuantMode

DEVICE = "cuda"
DTYPE = torch.float16 if TYPE == "fp16" else torch.bfloat16
BLOCK = 16
# Of vllm/v1/attention/backends/triton_attn.py: segments of a request, and how many blocks of the
# grid are so few that requests are cut.
SEGMENTS = 16
GRID_MIN = 128


def written(poison, pages, k, v):
    """The cache of k and v (sum of tokens, KV heads, size), and what attention is told about it."""
    one = torch.ones(1, dtype=torch.float32, device=DEVICE)
    row = tuple(k.shape[1:])
    caches = [pages.empty(poison, row, torch.int8 if QUANTIZED else DTYPE, DEVICE) for _ in "kv"]
    if not QUANTIZED:
        writers.triton_reshape_and_cache_flash(k, v, *caches, pages.slots, "auto", one, one)
        return caches, {}
    scales = [pages.empty(poison, row[:1], torch.float32, DEVICE) for _ in "kv"]
    writers.triton_reshape_and_cache_flash_per_token_head_quant(k, v, *caches, *scales, pages.slots)
    return caches, {"kv_quant_mode": KVQuantMode.INT8_PER_TOKEN_HEAD,
                    "k_scale_cache": scales[0], "v_scale_cache": scales[1]}


def segments(q, kv_heads):
    """Where a request is cut: buffers for the parts, allocated as the backend does."""
    real = lambda *shape: torch.empty(shape, dtype=torch.float32, device=DEVICE)
    heads, size = q.shape[1:]
    padded = 1 << (size - 1).bit_length()
    return {"seq_threshold_3D": GRID_MIN // kv_heads, "num_par_softmax_segments": SEGMENTS,
            "softmax_segm_output": real(q.shape[0], heads, SEGMENTS, padded),
            "softmax_segm_max": real(q.shape[0], heads, SEGMENTS),
            "softmax_segm_expsum": real(q.shape[0], heads, SEGMENTS)}


def decode(q, k, v, tokens, softmax_scale, poison):
    """q (requests, heads, size), tokens of each, none of them 0 -> output as q; codes and scales of
    K and V, (sum of tokens, KV heads, ...), where there are any."""
    pages = Pages(tokens, BLOCK, DEVICE)
    caches, scheme = written(poison, pages, k, v)
    whole = lambda x: torch.tensor(x, dtype=torch.int32, device=DEVICE)
    output = torch.empty(q.shape, dtype=DTYPE, device=DEVICE)
    one = torch.ones((len(tokens), k.shape[1]), dtype=torch.float32, device=DEVICE)
    cut = segments(q, k.shape[1]) if LAUNCH == "3d" else {}
    unified_attention(
        q=q, k=caches[0], v=caches[1], out=output, cu_seqlens_q=whole(list(range(len(tokens) + 1))),
        max_seqlen_q=1, seqused_k=whole(tokens), max_seqlen_k=max(tokens),
        softmax_scale=softmax_scale, causal=True, window_size=(-1, -1),
        block_table=whole(pages.table()), softcap=0, q_descale=None, k_descale=one, v_descale=one,
        **cut, **scheme)
    stored = [*caches, scheme["k_scale_cache"], scheme["v_scale_cache"]] if QUANTIZED else []
    return output, [x.reshape(-1, *x.shape[2:])[pages.slots] for x in stored]


def rows(problem, codes, scales):
    """One request and KV head after another: for each token its codes and behind them its scale."""
    parts = [codes.view(torch.uint8), scales[..., None].contiguous().view(torch.uint8)]
    both = torch.cat(parts, dim=2).cpu()
    requests = zip(problem.first, problem.first[1:])
    return torch.cat([both[start:end, head].reshape(-1) for start, end in requests
                      for head in range(problem.kv_heads)])


def run(problem, q, k, v):
    q, k, v = [torch.as_tensor(x.copy() if hasattr(x, "copy") else x).to(DEVICE) for x in (q, k, v)]
    output = torch.zeros(q.shape, dtype=DTYPE, device=DEVICE)
    some = [request for request, n in enumerate(problem.tokens) if n > 0]
    nothing = torch.empty(0, dtype=torch.uint8)
    packed = {"packed.k.rows": nothing, "packed.v.rows": nothing} if QUANTIZED else {}
    if some:
        tokens = [problem.tokens[request] for request in some]
        try:
            output[some], stored = decode(q[some], k, v, tokens, problem.softmax_scale, problem.poison)
        except RuntimeError as error:
            if "CUDA error" not in str(error):
                raise
            raise kvproof.DeviceError(str(error).split("\n")[0])
        if QUANTIZED:
            packed = {"packed.k.rows": rows(problem, stored[0], stored[2]),
                      "packed.v.rows": rows(problem, stored[1], stored[3])}
    return dict(packed, output=output)


for head_size in HEAD_SIZES:
    query = torch.zeros((1, 1, head_size), dtype=DTYPE, device=DEVICE)
    decode(query, query, query, [1], 1.0, 0)
if QUANTIZED:
    FORMATS = [{"format": "vllm-int8_per_token_head", "kAxis": ["token"], "bits": [8],
                "groups": [size], "headSizes": [size], "types": [TYPE]} for size in HEAD_SIZES]
else:
    FORMATS = [{"format": "fp16", "kAxis": ["channel"], "bits": [16], "groups": [128],
                "headSizes": HEAD_SIZES, "types": [TYPE]}]
# Codes are multiplied as they are, and their scales folded into scores and weights in f32.
ROUNDED = "f16" if TYPE == "fp16" else "bf16"
PRECISION = {"operands": "f32" if QUANTIZED else ROUNDED, "scores": "f32", "weights": ROUNDED,
             "rescaleTokens": 16}
# eitherTie: the division by which Triton makes a scale, and its inverse, are 2 ulps off at most.
kvproof.serve("vLLM %s %s" % (vllm.__version__, " ".join((CACHE, LAUNCH, TYPE))),
              kvproof.capabilities(FORMATS, precision=PRECISION, lse=False, eitherTie=QUANTIZED),
              run, device=kvproof.torch_device())
