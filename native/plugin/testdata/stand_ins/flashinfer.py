"""Stands in for the package flashinfer: the two functions that the adapter calls, with the signatures
and the promises of FlashInfer's documentation, computed by numpy."""

import numpy

from paged_attention import FAULT, attend, gathered
from torch import as_tensor

__version__ = "stand-in"


def _to_base_2(lse):
    return lse if FAULT == "natural-lse" else lse / numpy.log(2)


def _check_ratio(q, k):
    if q.shape[-2] // k.shape[-2] not in (1, 2, 3, 4, 6, 8):
        raise RuntimeError("Unsupported group_size: %d" % (q.shape[-2] // k.shape[-2]))


def single_decode_with_kv_cache(q, k, v, kv_layout="NHD", pos_encoding_mode="NONE",
                                use_tensor_cores=False, sm_scale=None, return_lse=False):
    """q (heads, size); k, v (tokens, KV heads, size); lse (heads) to the base 2."""
    assert kv_layout == "NHD" and k.shape == v.shape and k.shape[2] == q.shape[1] and len(k) > 0
    _check_ratio(q, k)
    scale = q.shape[1] ** -0.5 if sm_scale is None else sm_scale
    output, lse = attend(q, k, v, scale)
    output, lse = as_tensor(output.astype(q.dtype)), as_tensor(_to_base_2(lse).astype("float32"))
    return (output, lse) if return_lse else output


class BatchDecodeWithPagedKVCacheWrapper:
    def __init__(self, float_workspace_buffer, kv_layout="NHD", use_cuda_graph=False,
                 use_tensor_cores=False):
        assert kv_layout == "NHD" and float_workspace_buffer.dtype == "uint8"

    def plan(self, indptr, indices, last_page_len, num_qo_heads, num_kv_heads, head_dim, page_size,
             q_data_type="float16", kv_data_type=None, sm_scale=None):
        """indptr (requests + 1), indices (indptr[-1]), last_page_len (requests), 1 to page_size."""
        assert all(x.dtype == "int32" for x in (indptr, indices, last_page_len))
        assert indptr[0] == 0 and indptr[-1] == len(indices) and all(numpy.diff(indptr) > 0)
        assert len(last_page_len) == len(indptr) - 1
        assert all(1 <= n <= page_size for n in last_page_len)
        self.planned = (num_qo_heads, num_kv_heads, head_dim, page_size, q_data_type)
        self.requests = [(indices[a:b], (b - a - 1) * page_size + last)
                         for a, b, last in zip(indptr, indptr[1:], last_page_len)]
        self.scale = head_dim ** -0.5 if sm_scale is None else sm_scale

    def run(self, q, paged_kv_cache, return_lse=False):
        """q (requests, heads, size); both caches (pages, page_size, KV heads, size)."""
        k, v = paged_kv_cache
        assert k.shape == v.shape and len(q) == len(self.requests)
        assert (*q.shape[1:2], *k.shape[2:], k.shape[1], q.dtype) == (
            self.planned[0], *self.planned[1:]), "the plan is for other sizes"
        _check_ratio(q, k)
        found = [attend(row, gathered(k, pages, n), gathered(v, pages, n), self.scale)
                 for row, (pages, n) in zip(q, self.requests)]
        output = as_tensor(numpy.stack([x for x, _ in found]).astype(q.dtype))
        lse = as_tensor(_to_base_2(numpy.stack([x for _, x in found])).astype("float32"))
        return (output, lse) if return_lse else output
