"""PyTorch's scaled_dot_product_attention as a kernel over K and V in fp16.

    npx kvproof verify --kernel 'exec:python3 native/plugin/adapters/torch_sdpa.py flash'

    flash, efficient, math, cudnn   the backend; nothing else is taken in its place
Runs on the GPU where there is one, else on the CPU.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
import kvproof

try:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
except ImportError as error:
    kvproof.fail("torch_sdpa.py: PyTorch 2.3 or later is required, `pip install torch` installs it "
                 "(%s)" % error)

BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "efficient": SDPBackend.EFFICIENT_ATTENTION,
            "math": SDPBackend.MATH, "cudnn": SDPBackend.CUDNN_ATTENTION}
NAME = sys.argv[1] if len(sys.argv) > 1 else "flash"
if NAME not in BACKENDS:
    kvproof.fail("torch_sdpa.py: %r is not one of %s" % (NAME, ", ".join(BACKENDS)))
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def run(problem, q, k, v):
    q, k, v = [torch.as_tensor(x.copy() if hasattr(x, "copy") else x).to(DEVICE) for x in (q, k, v)]
    output = torch.zeros(q.shape, dtype=torch.float16)
    ratio = problem.query_heads // problem.kv_heads
    for request, tokens in enumerate(problem.tokens):
        if tokens == 0:
            continue  # not a call that PyTorch defines
        first = problem.first[request]
        query = q[request][None, :, None]
        keys, values = [x[first:first + tokens].transpose(0, 1).repeat_interleave(ratio, dim=0)[None]
                        for x in (k, v)]
        with sdpa_kernel(BACKENDS[NAME]):
            output[request] = torch.nn.functional.scaled_dot_product_attention(
                query, keys, values, scale=problem.softmax_scale)[0, :, 0].cpu()
    return {"output": output}


FORMATS = [{"format": "fp16", "kAxis": ["channel"], "bits": [16], "groups": [128],
            "headSizes": [64, 128]}]
PRECISION = {"operands": "f16", "scores": "f16" if NAME == "math" else "f32", "weights": "f16",
             "rescaleTokens": 16, "scaledOperands": NAME == "math"}
try:
    probe = torch.zeros(1, 1, 1, 64, dtype=torch.float16, device=DEVICE)
    with sdpa_kernel(BACKENDS[NAME]):
        torch.nn.functional.scaled_dot_product_attention(probe, probe, probe)
except RuntimeError as error:
    kvproof.fail("torch_sdpa.py: the backend %r does not run on this device (%s)" % (
        NAME, str(error).split("\n")[0]))
kvproof.serve("torch sdpa " + NAME,
              kvproof.capabilities(FORMATS, precision=PRECISION, lse=False), run,
              device=kvproof.torch_device())
