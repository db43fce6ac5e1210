"""KERNEL_NAME: a kernel in Python for kvproof, as a process.

    npx kvproof verify --kernel 'exec:python3 kernel.py' --time 60s

The cache here is int8 in blocks of 32 channels with one fp16 scale (the format "llama-q8_0" of
reference/formats). Replace quantize() and attend() by calls of your kernel, and FORMATS by what it
supports; kvproof.py beside this file says what run() gets and returns.
"""

import kvproof

try:
    import numpy as np
except ImportError as error:
    kvproof.fail("kernel.py: `pip install numpy` installs what is missing (%s)" % error)

BLOCK = 32

FORMATS = [{"format": "llama-q8_0", "kAxis": ["token"], "bits": [8], "groups": [BLOCK],
            "headSizes": [64, 128]}]

# What the error bound may assume: float32 all the way, no running maximum.
PRECISION = {"operands": "f32", "scores": "f32", "weights": "f32", "rescaleTokens": 8192}


def quantize(x):
    """x (tokens, head_size), fp16 -> codes (tokens, blocks, 32) int8, scales (tokens, blocks)."""
    blocks = x.astype(np.float32).reshape(x.shape[0], x.shape[1] // BLOCK, BLOCK)
    largest = np.nan_to_num(np.fmax.reduce(np.abs(blocks), axis=2), nan=0, posinf=np.inf)
    scale = largest / np.float32(127)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
    steps = blocks * inverse[..., None]
    nearest = np.trunc(steps)
    nearest += np.where(np.abs(steps - nearest) >= 0.5, np.sign(steps), 0)  # half away from zero
    codes = np.where(np.abs(nearest) <= 127, nearest, 0).astype(np.int8)
    return codes, scale.astype(np.float16)


def dequantize(codes, scales):
    rows = codes.astype(np.float32) * scales.astype(np.float32)[..., None]
    return rows.reshape(codes.shape[0], codes.shape[1] * BLOCK)


def attend(q, k, v, softmax_scale):
    """q (heads, head_size), k and v (tokens, head_size) -> output, lse; float32."""
    if len(k) == 0:
        return np.zeros_like(q), np.full(len(q), -np.inf, np.float32)
    scores = (q @ k.T) * np.float32(softmax_scale)
    largest = scores.max(axis=1, keepdims=True)
    weights = np.exp(scores - largest)
    total = weights.sum(axis=1, keepdims=True)
    return weights @ v / total, (largest + np.log(total))[:, 0]


def blocks_as_bytes(codes, scales):
    """Blocks of 34 bytes: the scale, then 32 codes."""
    scale_bytes = np.ascontiguousarray(scales).view(np.uint8).reshape(*scales.shape, 2)
    return np.concatenate([scale_bytes, codes.view(np.uint8)], axis=2).reshape(-1)


def run(problem, q, k, v):
    output = np.zeros(q.shape, np.float32)
    lse = np.zeros(q.shape[:2], np.float32)
    packed = {"k": [], "v": []}
    ratio = problem.query_heads // problem.kv_heads
    first = problem.first
    for request in range(len(problem.tokens)):
        for head in range(problem.kv_heads):
            rows = {}
            for name, x in (("k", k), ("v", v)):
                own = x[first[request]:first[request + 1], head]
                codes, scales = quantize(own)
                packed[name].append(blocks_as_bytes(codes, scales))
                rows[name] = dequantize(codes, scales)
            heads = slice(head * ratio, (head + 1) * ratio)
            queries = q[request, heads].astype(np.float32)
            output[request, heads], lse[request, heads] = attend(
                queries, rows["k"], rows["v"], problem.softmax_scale)
    return {"output": output, "lse": lse,
            "packed.k.blocks": np.concatenate(packed["k"]),
            "packed.v.blocks": np.concatenate(packed["v"])}


if __name__ == "__main__":
    np.seterr(all="ignore")  # infinities and NaN are part of the tests
    kvproof.serve("KERNEL_NAME", kvproof.capabilities(FORMATS, precision=PRECISION), run)
