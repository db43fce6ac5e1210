"""BitDecoding's package bit_decode: its packing kernel and its decoding kernel, on a GPU.

    npx kvproof verify --kernel 'exec:python3 native/plugin/adapters/bit_decoding.py 4 128,32'

    first argument    bits: 4, 2 or 4,2
    second argument   groups: 128, 64, 32, separated by commas
    third argument    k-channel (default) or k-tensor
Lengths are multiples of 256, as the attention kernel requires. Requests of one length run as one
batch, others one after another. Cache tensors are filled with the poison of the run before they are
packed; what the interface documents as the caller's is cu_seqlens_k only.
"""

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
MULTIPLE = 256


def poisoned(problem, dtype, *shape):
    size = torch.empty(0, dtype=dtype).element_size()
    flat = torch.full((size * max(1, torch.Size(shape).numel()),), problem.poison,
                      dtype=torch.uint8, device="cuda")
    return flat.view(dtype)[:torch.Size(shape).numel()].view(*shape)


def pack(problem, k, v):
    """k, v (batch, tokens, kv_heads, 128) -> k words and params, v words and params."""
    batch, tokens, heads, size = k.shape
    per_word, group = 16 // problem.bits, problem.group
    u16, f32 = torch.uint16, torch.float32
    if CHANNEL:
        k_pack = poisoned(problem, u16, batch, tokens // per_word, heads, size)
        k_params = poisoned(problem, f32, batch, tokens // group, heads, size)
    else:
        k_pack = poisoned(problem, u16, batch, tokens, heads, size // per_word)
        k_params = poisoned(problem, f32, batch, size // group, heads, tokens)
    v_pack = poisoned(problem, u16, batch, tokens, heads, size // per_word)
    v_params = poisoned(problem, f32, batch, size // group, heads, tokens)
    starts = torch.arange(0, (batch + 1) * tokens, tokens, dtype=torch.int32, device="cuda")
    kvcache_pack_int(k.contiguous(), k_pack, k_params, v.contiguous(), v_pack, v_params, None,
                     starts, tokens, MODE, group, problem.bits)
    return k_pack, k_params, v_pack, v_params


def of_head(words, params, item, head):
    return [x[item, :, head].contiguous().cpu().reshape(-1).view(torch.uint8)
            for x in (words, params)]


def run(problem, q, k, v):
    q, k, v = [torch.as_tensor(x.copy() if hasattr(x, "copy") else x).cuda() for x in (q, k, v)]
    output = torch.zeros(q.shape, dtype=torch.float16)
    arrays = {name: [] for name in ("k.words", "k.params", "v.words", "v.params")}
    lengths = set(problem.tokens)
    batches = [list(range(len(problem.tokens)))] if len(lengths) == 1 else [
        [request] for request in range(len(problem.tokens))]
    for batch in batches:
        tokens = problem.tokens[batch[0]]
        if tokens == 0:
            continue  # the interface has no request without tokens
        keys, values = [torch.stack([x[problem.first[r]:problem.first[r] + tokens] for r in batch])
                        for x in (k, v)]
        packed = pack(problem, keys, values)
        query = q[batch][:, None].contiguous()
        out = fwd_kvcache_int(query, *packed, None, problem.softmax_scale, MODE, problem.group,
                              problem.bits)
        try:
            torch.cuda.synchronize()
        except RuntimeError as error:
            raise kvproof.DeviceError(str(error).split("\n")[0])
        output[batch] = out.reshape(len(batch), problem.query_heads, problem.head_size).cpu()
        for item in range(len(batch)):
            for head in range(problem.kv_heads):
                for name, pair in (("k", packed[:2]), ("v", packed[2:])):
                    words, params = of_head(*pair, item, head)
                    arrays[name + ".words"].append(words)
                    arrays[name + ".params"].append(params)
    answer = {"output": output}
    for name, parts in arrays.items():
        answer["packed." + name] = torch.cat(parts) if parts else torch.empty(0, dtype=torch.uint8)
    return answer


FORMATS = [{"format": "bitdecoding-" + MODE, "kAxis": ["channel" if CHANNEL else "token"],
            "bits": BITS, "groups": GROUPS, "headSizes": [128]}]
PRECISION = {"operands": "f16", "scores": "f32", "weights": "f16", "rescaleTokens": 16}
kvproof.serve("BitDecoding %s %s" % (MODE, sys.argv[1:]),
              kvproof.capabilities(FORMATS, precision=PRECISION, lse=False, tokensMultiple=MULTIPLE,
                                   blockTokens=MULTIPLE, roundedValues=True, tokens_max=4096,
                                   tiles=[8, 16, 128, 256]),
              run, device=kvproof.torch_device())
