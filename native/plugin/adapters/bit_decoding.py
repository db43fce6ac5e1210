"""BitDecoding's package bit_decode: its packing kernel and its decoding kernel, on a GPU.

    npx kvproof verify --kernel 'exec:python3 native/plugin/adapters/bit_decoding.py 4 128,32'

    first argument    bits: 4, 2 or 4,2
    second argument   groups: 128, 64, 32, separated by commas
    third argument    k-channel (default) or k-tensor
Branch main decodes packed tokens only, a multiple of 256, as its attention kernel requires. Branch
e2e, told by its signature, keeps the last tokens of a request in fp16. A step of decoding appends a
token before it attends, behind at least one packed block of 128: other lengths, which a declaration
cannot exclude, are declined by the run.
Requests of one length run as one batch, others one after another. Cache tensors are filled with the
poison of the run before they are packed; what the interface documents as the caller's is
cu_seqlens_k only.
"""

import inspect
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
import kvproof

try:
    import torch
    from bit_decode import fwd_kvcache_int, kvcache_pack_int
except ImportError as error:
    kvproof.fail("bit_decoding.py: the package bit_decode of BitDecoding is not installed (%s)" % error)
if not torch.cuda.is_available():
    kvproof.fail("bit_decoding.py: no CUDA device answers, BitDecoding needs one")

BITS = [int(x) for x in (sys.argv[1] if len(sys.argv) > 1 else "4").split(",")]
GROUPS = [int(x) for x in (sys.argv[2] if len(sys.argv) > 2 else "128,32").split(",")]
MODE = sys.argv[3] if len(sys.argv) > 3 else "k-channel"
CHANNEL = MODE == "k-channel"
RESIDUAL = "residual_block_size" in inspect.signature(fwd_kvcache_int).parameters
MULTIPLE = 1 if RESIDUAL else 256
BLOCK = 128 if RESIDUAL else 256
DEVICE = "cuda"


def poisoned(problem, dtype, *shape):
    count = torch.Size(shape).numel()
    size = torch.empty(0, dtype=dtype).element_size()
    flat = torch.full((size * count,), problem.poison, dtype=torch.uint8, device=DEVICE)
    return flat.view(dtype).view(*shape)


def cache(problem, batch, tokens):
    """Tensors of the cache, as evaluation/test.py shapes them: k words, k params, v words, v params."""
    per_word, group = 16 // problem.bits, problem.group
    heads, size = problem.kv_heads, problem.head_size
    by_row = ((batch, tokens, heads, size // per_word), (batch, size // group, heads, tokens))
    by_column = ((batch, tokens // per_word, heads, size), (batch, tokens // group, heads, size))
    k_shapes = by_column if CHANNEL else by_row
    return [poisoned(problem, dtype, *shape)
            for shapes in (k_shapes, by_row)
            for dtype, shape in zip((torch.uint16, torch.float32), shapes)]


def pack(problem, k, v):
    """k, v (batch, tokens, kv_heads, 128) -> k words and params, v words and params."""
    batch, tokens = k.shape[:2]
    packed = cache(problem, batch, tokens)
    starts = torch.arange(0, (batch + 1) * tokens, tokens, dtype=torch.int32, device=DEVICE)
    kvcache_pack_int(k.contiguous(), packed[0], packed[1], v.contiguous(), packed[2], packed[3],
                     None, starts, tokens, MODE, problem.group, problem.bits)
    return packed


def with_residual(problem, query, packed, k, v, whole):
    """The call of branch e2e: k, v (batch, tokens, kv_heads, 128), whole of them packed."""
    batch, tokens = k.shape[:2]
    tail = [torch.zeros(batch, BLOCK, *x.shape[2:], dtype=x.dtype, device=DEVICE) for x in (k, v)]
    for full, x in zip(tail, (k, v)):
        full[:, :tokens - whole] = x[:, whole:]
    lengths = torch.full((batch,), whole, dtype=torch.int32, device=DEVICE)
    return fwd_kvcache_int(query, *packed, *tail, lengths, *cache(problem, batch, BLOCK), None,
                           problem.softmax_scale, MODE, problem.group, BLOCK, tokens - whole,
                           problem.bits)[0]


def attend(problem, q, k, v):
    """One batch of equal lengths: the output and the packed cache."""
    tokens = k.shape[1]
    query = q[:, None].contiguous()
    whole = tokens - tokens % BLOCK
    packed = pack(problem, k[:, :whole], v[:, :whole])
    if RESIDUAL:
        out = with_residual(problem, query, packed, k, v, whole)
    else:
        out = fwd_kvcache_int(query, *packed, None, problem.softmax_scale, MODE, problem.group,
                              problem.bits)
    return out.reshape(q.shape).cpu(), packed


def of_head(words, params, item, head):
    return [x[item, :, head].contiguous().cpu().reshape(-1).view(torch.uint8)
            for x in (words.view(torch.int16), params)]


def run(problem, q, k, v):
    if RESIDUAL and any(n < BLOCK or n % BLOCK == 0 for n in problem.tokens):
        raise kvproof.Unsupported("no step of decoding has a request of %s tokens" % problem.tokens)
    q, k, v = [torch.as_tensor(x.copy() if hasattr(x, "copy") else x).to(DEVICE) for x in (q, k, v)]
    output = torch.zeros(q.shape, dtype=torch.float16)
    names = ("k.words", "k.params", "v.words", "v.params")
    arrays = {(name, request): [] for name in names for request in range(len(problem.tokens))}
    one_batch = len(set(problem.tokens)) == 1
    everything = list(range(len(problem.tokens)))
    for batch in [everything] if one_batch else [[request] for request in everything]:
        tokens = problem.tokens[batch[0]]
        if tokens == 0:
            continue  # the interface has no request without tokens
        keys, values = [torch.stack([x[problem.first[r]:problem.first[r] + tokens] for r in batch])
                        for x in (k, v)]
        try:
            output[batch], packed = attend(problem, q[batch], keys, values)
        except RuntimeError as error:
            if "CUDA error" not in str(error):
                raise
            raise kvproof.DeviceError(str(error).split("\n")[0])
        for item, request in enumerate(batch):
            for head in range(problem.kv_heads):
                parts = of_head(*packed[:2], item, head) + of_head(*packed[2:], item, head)
                for name, part in zip(names, parts):
                    arrays[name, request].append(part)
    empty = [torch.empty(0, dtype=torch.uint8)]
    answer = {"packed." + name: torch.cat(empty + [part for request in everything
                                                   for part in arrays[name, request]])
              for name in names}
    return dict(answer, output=output)


FORMATS = [{"format": "bitdecoding-" + MODE, "kAxis": ["channel" if CHANNEL else "token"],
            "bits": BITS, "groups": GROUPS, "headSizes": [128]}]
PRECISION = {"operands": "f16", "scores": "f32", "weights": "f16", "rescaleTokens": 16}
kvproof.serve("BitDecoding %s%s %s" % ("e2e " if RESIDUAL else "", MODE, sys.argv[1:]),
              kvproof.capabilities(FORMATS, precision=PRECISION, lse=False, tokensMultiple=MULTIPLE,
                                   blockTokens=BLOCK, roundedValues=True, eitherTie=True, tokens_max=4096,
                                   tiles=[8, 16, 128, 256]),
              run, device=kvproof.torch_device())
