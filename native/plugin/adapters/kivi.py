"""KIVI (jy-yuan/KIVI): its quantisers and its product of a query with a quantised cache.

    KIVI_PATH=/path/to/KIVI \\
    npx kvproof verify --kernel 'exec:python3 native/plugin/adapters/kivi.py torch'

    torch   quant_and_pack_kcache and _vcache, attention over unpack_and_dequant_*; CPU or GPU
    cuda    triton_quantize_and_pack_along_last_dim and cuda_bmm_fA_qB_outer, as models/llama_kivi.py
            calls them; needs a GPU and the package kivi_gemv
    triton  the same with triton_bmm_fA_qB_outer, which has no query heads that share a KV head: the
            codes are repeated for them; its groups are multiples of 64

The last tokens % 128 of a request stay in fp16, as a residual of 128. Scores are kept in fp16 and
scaled afterwards, weights are fp16, as in the models of the repository.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
sys.path.insert(0, os.environ.get("KIVI_PATH", ""))
import kvproof

PATH = sys.argv[1] if len(sys.argv) > 1 else "torch"
BLOCK = 128
try:
    import torch
    from quant import new_pack
    if PATH != "torch":
        from quant.matmul import cuda_bmm_fA_qB_outer, triton_bmm_fA_qB_outer
except ImportError as error:
    kvproof.fail("kivi.py: KIVI_PATH must name a checkout of KIVI, with torch and triton%s installed "
                 "(%s)" % (" and kivi_gemv" if PATH != "torch" else "", error))
if PATH != "torch" and not torch.cuda.is_available():
    kvproof.fail("kivi.py: no CUDA device answers, the path %r needs one" % PATH)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def quantize(k, v, problem):
    """k, v (1, kv_heads, tokens, head_size) -> codes, scales, minima of each, as KIVI shapes them."""
    if PATH == "torch":
        return (new_pack.quant_and_pack_kcache(k, problem.group, problem.bits),
                new_pack.quant_and_pack_vcache(v, problem.group, problem.bits))
    pack = new_pack.triton_quantize_and_pack_along_last_dim
    return (pack(k.transpose(2, 3).contiguous(), problem.group, problem.bits),
            pack(v.contiguous(), problem.group, problem.bits))


def rows_last(parts):
    """K of the torch path has tokens before channels: (.., head_size, tokens / x) as the others."""
    return [part.reshape(*part.shape[:2], -1, part.shape[-1]).transpose(2, 3) for part in parts]


def packed(parts, kv_heads):
    """Bytes of codes, scale and mn of each head."""
    codes, scale, mn = parts
    def of(head, x, kind):
        return x[0, head].contiguous().cpu().view(kind).reshape(-1).view(torch.uint8)
    return [{"codes": of(head, codes, torch.int32), "scale": of(head, scale, torch.float16),
             "mn": of(head, mn, torch.float16)} for head in range(kv_heads)]


def attend(problem, q, k, v, quantized, whole):
    """q (1, heads, 1, head_size) over `whole` quantised tokens and the rest of k and v in fp16."""
    (k_codes, k_scale, k_mn), (v_codes, v_scale, v_mn) = quantized or ([None] * 3, [None] * 3)
    ratio = problem.query_heads // problem.kv_heads
    wide = lambda x: x.repeat_interleave(ratio, dim=1)
    group, bits = problem.group, problem.bits

    def product(x, *parts):
        if PATH == "cuda":
            return cuda_bmm_fA_qB_outer(group, x, *parts, bits)
        return triton_bmm_fA_qB_outer(group, x, *[wide(part) for part in parts], bits)

    scores = [torch.matmul(q, wide(k[:, :, whole:]).transpose(2, 3))]
    if whole:
        if PATH == "torch":
            rows = new_pack.unpack_and_dequant_kcache(k_codes, k_scale, k_mn, group, bits)
            scores.insert(0, torch.matmul(q, wide(rows).transpose(2, 3)))
        else:
            scores.insert(0, product(q, k_codes, k_scale, k_mn))
    scaled = torch.cat(scores, dim=-1) * problem.softmax_scale
    weights = torch.softmax(scaled, dim=-1, dtype=torch.float32).to(torch.float16)
    output = torch.matmul(weights[..., whole:].float(), wide(v[:, :, whole:]).float())
    if whole:
        own = weights[..., :whole].contiguous()
        if PATH == "torch":
            rows = new_pack.unpack_and_dequant_vcache(v_codes, v_scale, v_mn, group, bits)
            output += torch.matmul(own, wide(rows)).float()
        else:
            output += product(own, v_codes, v_scale, v_mn).float()
    return output[0, :, 0]


def run(problem, q, k, v):
    q, k, v = [torch.as_tensor(x.copy() if hasattr(x, "copy") else x).to(DEVICE) for x in (q, k, v)]
    output = torch.zeros(q.shape, dtype=torch.float32)
    arrays = {"%s.%s" % (t, name): [] for t in "kv" for name in ("codes", "scale", "mn")}
    first = problem.first
    for request, tokens in enumerate(problem.tokens):
        if tokens == 0:
            continue
        own_k, own_v = [x[first[request]:first[request + 1]].transpose(0, 1)[None] for x in (k, v)]
        whole = tokens - tokens % BLOCK
        quantized = None
        if whole:
            quantized = quantize(own_k[:, :, :whole].contiguous(),
                                 own_v[:, :, :whole].contiguous(), problem)
            keys = rows_last(quantized[0]) if PATH == "torch" else quantized[0]
            for tensor, parts in (("k", keys), ("v", quantized[1])):
                for head in packed(parts, problem.kv_heads):
                    for name, data in head.items():
                        arrays["%s.%s" % (tensor, name)].append(data)
        query = q[request][None, :, None]
        output[request] = attend(problem, query, own_k, own_v, quantized, whole).cpu()
    answer = {"output": output}
    for name, parts in arrays.items():
        answer["packed." + name] = torch.cat(parts) if parts else torch.empty(0, dtype=torch.uint8)
    return answer


FORMATS = [{"format": "kivi", "kAxis": ["channel"], "bits": [4, 2],
            "groups": [64, 128] if PATH == "triton" else [32, 64, 128], "headSizes": [128]}]
PRECISION = {"operands": "f16", "scores": "f16", "weights": "f16", "rescaleTokens": 8192}
kvproof.serve("KIVI " + PATH,
              kvproof.capabilities(FORMATS, precision=PRECISION, lse=False, blockTokens=BLOCK,
                                   roundedValues=PATH == "torch",
                                   tokens_max=4096),
              run, device=kvproof.torch_device())
