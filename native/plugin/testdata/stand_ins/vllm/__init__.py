"""Stands in for the package vllm: the functions that the adapter calls, with the signatures and the
promises of vLLM's documentation, computed by numpy."""

import enum
import sys
import types

import numpy

from paged_attention import FAULT, attend, gathered

__version__ = "stand-in"


class KVQuantMode(enum.IntEnum):
    NONE = 0
    INT8_PER_TOKEN_HEAD = 2


def triton_reshape_and_cache_flash(key, value, key_cache, value_cache, slot_mapping, kv_cache_dtype,
                                   k_scale, v_scale):
    """key, value (tokens, KV heads, size) to the slots of (blocks, block size, KV heads, size)."""
    assert kv_cache_dtype == "auto" and key.dtype == key_cache.dtype
    for x, cache in ((key, key_cache), (value, value_cache)):
        cache.reshape(-1, *cache.shape[2:])[slot_mapping] = x


def triton_reshape_and_cache_flash_per_token_head_quant(
        key, value, key_cache, value_cache, k_scale_cache, v_scale_cache, slot_mapping):
    """int8 codes and one float32 scale for a token of a KV head, (blocks, block size, KV heads)."""
    one = numpy.float32(1)
    for x, cache, scales in ((key, key_cache, k_scale_cache), (value, value_cache, v_scale_cache)):
        assert cache.dtype == "int8" and scales.dtype == "float32" and scales.shape == cache.shape[:3]
        x = numpy.asarray(x, numpy.float32)
        with numpy.errstate(all="ignore"):
            # The GPU's max and min: a NaN loses.
            top = numpy.fmax.reduce(numpy.abs(x), axis=2)
            scale = numpy.fmax(top / numpy.float32(127), numpy.float32(1e-6))
            # Triton's division of a float32 is approximate: 2 ulps, here one.
            scale[1::2] = numpy.nextafter(scale[1::2], numpy.float32(numpy.inf))
            if FAULT == "coarse-scales":
                scale *= numpy.float32(1 + 2 ** -12)
            steps = x * (one / scale)[..., None]
            whole = numpy.trunc(steps) if FAULT == "codes-cut" else numpy.rint(steps)
            codes = numpy.fmin(numpy.fmax(whole, -128), 127).astype(numpy.int8)
        cache.reshape(-1, *cache.shape[2:])[slot_mapping] = codes
        scales.reshape(-1, scales.shape[2])[slot_mapping] = scale


def unified_attention(q, k, v, out, cu_seqlens_q, max_seqlen_q, seqused_k, max_seqlen_k,
                      softmax_scale, causal, window_size, block_table, softcap, q_descale, k_descale,
                      v_descale, seq_threshold_3D=None, num_par_softmax_segments=None,
                      softmax_segm_output=None, softmax_segm_max=None, softmax_segm_expsum=None,
                      kv_quant_mode=KVQuantMode.NONE, k_scale_cache=None, v_scale_cache=None):
    """q, out (requests, heads, size); k, v (blocks, block size, KV heads, size)."""
    requests, heads, size = q.shape
    assert causal and q_descale is None and max_seqlen_q == 1 and tuple(window_size) == (-1, -1)
    assert list(cu_seqlens_q) == list(range(requests + 1)) and max(seqused_k) == max_seqlen_k
    assert all(x.dtype == "int32" for x in (cu_seqlens_q, seqused_k, block_table))
    assert len(block_table) == len(seqused_k) == requests
    if softmax_segm_output is not None:
        parts = (requests, heads, num_par_softmax_segments)
        assert softmax_segm_output.shape == (*parts, size)
        assert softmax_segm_max.shape == softmax_segm_expsum.shape == parts
    for row in range(requests):
        tokens = int(seqused_k[row])
        pages = block_table[row][:-(-tokens // k.shape[1])]
        rows = []
        for cache, scales in ((k, k_scale_cache), (v, v_scale_cache)):
            x = numpy.asarray(gathered(cache, pages, tokens), numpy.float64)
            if kv_quant_mode == KVQuantMode.INT8_PER_TOKEN_HEAD:
                with numpy.errstate(all="ignore"):
                    x = x * gathered(scales, pages, tokens)[..., None]
            rows.append(x)
        out[row] = attend(q[row], *rows, softmax_scale)[0]


def _module(name, **contents):
    sys.modules["vllm." + name] = types.ModuleType("vllm." + name)
    vars(sys.modules["vllm." + name]).update(contents)
    return sys.modules["vllm." + name]


_module("v1")
_module("v1.attention")
_module("v1.kv_cache_interface", KVQuantMode=KVQuantMode)
_writers = _module(
    "v1.attention.ops.triton_reshape_and_cache_flash",
    triton_reshape_and_cache_flash=triton_reshape_and_cache_flash,
    triton_reshape_and_cache_flash_per_token_head_quant=(
        triton_reshape_and_cache_flash_per_token_head_quant))
_module("v1.attention.ops.triton_unified_attention", unified_attention=unified_attention)
_module("v1.attention.ops", triton_reshape_and_cache_flash=_writers)
