"""KERNEL_NAME: an extension of PyTorch as a kernel for kvproof, in a process.

    npx kvproof verify --kernel 'exec:python3 torch_kernel.py' --time 60s

torch_kernel.cpp beside this file is compiled at the first start, which needs a C++ compiler and the
package ninja, and minutes on a small machine: `python3 torch_kernel.py < /dev/null` does nothing else.
A compilation that was killed leaves a file "lock" in ~/.cache/torch_extensions, on which the next one
waits for ever. Replace load() by an import of a package that you have built. The cache is int8 in
blocks of 32 channels with one fp16 scale (the format "llama-q8_0" of reference/formats).
"""

import os

import kvproof

try:
    import torch
    from torch.utils.cpp_extension import load
except ImportError as error:
    kvproof.fail("torch_kernel.py: PyTorch is not installed, `pip install torch` does it (%s)" % error)

HERE = os.path.dirname(os.path.abspath(__file__))
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
torch.backends.cuda.matmul.allow_tf32 = False  # products of float32, as declared below
FORMATS = [{"format": "llama-q8_0", "kAxis": ["token"], "bits": [8], "groups": [32],
            "headSizes": [64, 128]}]
# What the error bound may assume: float32 all the way, no running maximum.
PRECISION = {"operands": "f32", "scores": "f32", "weights": "f32", "rescaleTokens": 8192}
try:
    extension = load("kvproof_torch_kernel", [os.path.join(HERE, "torch_kernel.cpp")])
except (RuntimeError, OSError) as error:
    kvproof.fail("torch_kernel.py: torch_kernel.cpp is not compiled (%s)" % str(error).split("\n")[0])


def blocks_as_bytes(codes, scales):
    """Blocks of 34 bytes: the scale, then 32 codes."""
    parts = [scales.unsqueeze(2).contiguous().view(torch.uint8), codes.view(torch.uint8)]
    return torch.cat(parts, dim=2).reshape(-1).cpu()


def run(problem, q, k, v):
    q, k, v = [torch.as_tensor(x.copy() if hasattr(x, "copy") else x).to(DEVICE) for x in (q, k, v)]
    output = torch.zeros(q.shape, dtype=torch.float32)
    lse = torch.full(q.shape[:2], float("-inf"))
    packed = {"k": [], "v": []}
    ratio = problem.query_heads // problem.kv_heads
    first = problem.first
    for request, tokens in enumerate(problem.tokens):
        for head in range(problem.kv_heads):
            own = [x[first[request]:first[request + 1], head].contiguous() for x in (k, v)]
            (k_codes, k_scales), (v_codes, v_scales) = [extension.quantize(x) for x in own]
            packed["k"].append(blocks_as_bytes(k_codes, k_scales))
            packed["v"].append(blocks_as_bytes(v_codes, v_scales))
            if tokens == 0:
                continue
            heads = slice(head * ratio, (head + 1) * ratio)
            rows, sums = extension.attend(q[request, heads], k_codes, k_scales, v_codes, v_scales,
                                          problem.softmax_scale)
            output[request, heads], lse[request, heads] = rows.cpu(), sums.cpu()
    return {"output": output, "lse": lse, "packed.k.blocks": torch.cat(packed["k"]),
            "packed.v.blocks": torch.cat(packed["v"])}


kvproof.serve("KERNEL_NAME", kvproof.capabilities(FORMATS, precision=PRECISION), run,
              device=kvproof.torch_device())
