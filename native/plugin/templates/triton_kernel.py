"""KERNEL_NAME: a kernel in Triton for kvproof, in a process.

    npx kvproof verify --kernel 'exec:python3 triton_kernel.py' --time 60s

Needs a GPU; without one, TRITON_INTERPRET=1 runs it on a CPU, slowly. The cache is int8 in blocks of
32 channels with one fp16 scale (the format "llama-q8_0" of reference/formats). Replace the two
kernels by yours, and FORMATS by what they support.
"""

import os

import kvproof

try:
    import torch
    import triton
    import triton.language as tl
except ImportError as error:
    kvproof.fail("triton_kernel.py: `pip install torch triton` installs what is missing (%s)" % error)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
    kvproof.fail("triton_kernel.py: no GPU answers, TRITON_INTERPRET=1 runs Triton without one")
BLOCK = 32
TILE = 16
FORMATS = [{"format": "llama-q8_0", "kAxis": ["token"], "bits": [8], "groups": [BLOCK],
            "headSizes": [64, 128]}]
# What the error bound may assume: sums in float32, the maximum renewed once a tile.
PRECISION = {"operands": "f32", "scores": "f32", "weights": "f32", "rescaleTokens": TILE}


@triton.jit
def quantize_blocks(x, codes, scales, BLOCK: tl.constexpr):
    """A program a block: x (blocks, 32) fp16 -> codes (blocks, 32) int8, scales (blocks) fp16."""
    block = tl.program_id(0)
    at = block * BLOCK + tl.arange(0, BLOCK)
    values = tl.load(x + at).to(tl.float32)
    magnitude = tl.where(values == values, tl.abs(values), 0.0)
    # div_rn: `/` is approximate on a GPU, and codes beside a rounding boundary would differ.
    top = tl.full([], 127.0, tl.float32)
    one = tl.full([], 1.0, tl.float32)
    scale = tl.div_rn(tl.max(magnitude, axis=0), top)
    steps = values * tl.where(scale != 0, tl.div_rn(one, scale), 0.0)
    size = tl.abs(steps)
    whole = tl.floor(size)
    nearest = whole + tl.where(size - whole >= 0.5, 1.0, 0.0)  # half away from zero
    kept = tl.where(nearest <= 127.0, nearest, 0.0)
    tl.store(codes + at, tl.where(steps < 0, -kept, kept).to(tl.int8))
    tl.store(scales + block, scale.to(tl.float16))


# A count that is an argument is compiled for anew where it is 1, a multiple of 16, or neither, and
# every case has others: these are not, and the tokens of a request are read from memory.
@triton.jit(do_not_specialize=["kv_heads", "ratio"])
def attend(q, k_codes, k_scales, v_codes, v_scales, first, output, lse, kv_heads, ratio,
           softmax_scale, SIZE: tl.constexpr, BLOCK: tl.constexpr, TILE: tl.constexpr):
    """A program a query head and request; codes (tokens, kv_heads, SIZE), scales a block.

    The tokens of request r are first[r] to first[r + 1].
    """
    head = tl.program_id(0)
    request = tl.program_id(1)
    row = request * tl.num_programs(0) + head
    end = tl.load(first + request + 1)
    channel = tl.arange(0, SIZE)
    query = tl.load(q + row * SIZE + channel).to(tl.float32)
    largest = -float("inf")
    total = 0.0
    values = tl.zeros([SIZE], tl.float32)
    for start in range(tl.load(first + request), end, TILE):
        token = start + tl.arange(0, TILE)
        valid = token < end
        at = ((token * kv_heads + head // ratio) * SIZE)[:, None] + channel[None, :]
        k = (tl.load(k_codes + at, mask=valid[:, None], other=0).to(tl.float32)
             * tl.load(k_scales + at // BLOCK, mask=valid[:, None], other=0).to(tl.float32))
        scores = tl.sum(k * query[None, :], axis=1) * softmax_scale
        scores = tl.where(valid, scores, -float("inf"))
        renewed = tl.maximum(largest, tl.max(scores, axis=0))
        # Where nothing has changed there is no factor, as Inf - Inf is none.
        factor = tl.where(renewed == largest, 1.0, tl.exp(largest - renewed))
        weights = tl.where(valid, tl.exp(scores - renewed), 0.0)
        v = (tl.load(v_codes + at, mask=valid[:, None], other=0).to(tl.float32)
             * tl.load(v_scales + at // BLOCK, mask=valid[:, None], other=0).to(tl.float32))
        total = total * factor + tl.sum(weights, axis=0)
        products = tl.where(valid[:, None], weights[:, None] * v, 0.0)
        values = values * factor + tl.sum(products, axis=0)
        largest = renewed
    # A request without tokens has the output 0 and the lse -Inf.
    tl.store(output + row * SIZE + channel, values / tl.where(total == 0.0, 1.0, total))
    tl.store(lse + row, largest + tl.log(total))


def quantize(x):
    """x (tokens, kv_heads, head_size) fp16 -> codes of that shape, scales (tokens, kv_heads, blocks)."""
    codes = torch.empty(x.shape, dtype=torch.int8, device=DEVICE)
    scales = torch.empty((*x.shape[:2], x.shape[2] // BLOCK), dtype=torch.float16, device=DEVICE)
    if scales.numel() > 0:
        quantize_blocks[(scales.numel(),)](x.contiguous(), codes, scales, BLOCK=BLOCK)
    return codes, scales


def blocks_as_bytes(codes, scales):
    """Head after head, blocks of 34 bytes: the scale, then 32 codes."""
    codes = codes.unflatten(2, (-1, BLOCK)).view(torch.uint8)
    parts = [scales.unsqueeze(3).contiguous().view(torch.uint8), codes]
    return torch.cat(parts, dim=3).transpose(0, 1).reshape(-1).cpu()


def decode(q, k, v, first, softmax_scale):
    """Output and lse, and the codes and scales of K and V; shapes as kvproof.py has them."""
    requests, heads, size = q.shape
    kv_heads = k.shape[1]
    quantized = [*quantize(k), *quantize(v)]
    first = torch.tensor(first, dtype=torch.int32, device=DEVICE)
    output = torch.empty(q.shape, dtype=torch.float32, device=DEVICE)
    lse = torch.empty(q.shape[:2], dtype=torch.float32, device=DEVICE)
    attend[(heads, requests)](q, *quantized, first, output, lse, kv_heads, heads // kv_heads,
                              softmax_scale, SIZE=size, BLOCK=BLOCK, TILE=TILE)
    return output, lse, quantized


def run(problem, q, k, v):
    q, k, v = [torch.as_tensor(x.copy() if hasattr(x, "copy") else x).to(DEVICE) for x in (q, k, v)]
    first = problem.first
    output, lse, quantized = decode(q, k, v, first, problem.softmax_scale)
    requests = [slice(*ends) for ends in zip(first, first[1:])]
    k_bytes, v_bytes = [torch.cat([blocks_as_bytes(codes[own], scales[own]) for own in requests])
                        for codes, scales in (quantized[:2], quantized[2:])]
    return {"output": output, "lse": lse, "packed.k.blocks": k_bytes, "packed.v.blocks": v_bytes}


# Triton compiles at the first launch of each head size, which no case's deadline should pay for.
for head_size in FORMATS[0]["headSizes"]:
    nothing = torch.zeros(1, 1, head_size, dtype=torch.float16, device=DEVICE)
    decode(nothing, nothing, nothing, [0, 1], 1.0)
kvproof.serve("KERNEL_NAME", kvproof.capabilities(FORMATS, precision=PRECISION), run,
              device=kvproof.torch_device())
