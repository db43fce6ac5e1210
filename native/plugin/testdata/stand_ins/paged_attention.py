"""What the stand-ins for FlashInfer and vLLM compute: attention in float64 over a cache of pages, and
the faults that a test can ask for by STAND_IN_FAULT, each one that a user of the package could meet."""

import os

import numpy

FAULT = os.environ.get("STAND_IN_FAULT", "none")


def gathered(pool, pages, tokens):
    """The tokens of one request from a pool (pages, tokens of a page, KV heads, ...)."""
    size = pool.shape[1]
    assert len(pages) == -(-tokens // size), "%d pages for %d tokens" % (len(pages), tokens)
    assert all(0 <= page < len(pool) for page in pages)
    if FAULT == "pages-in-order":
        pages = sorted(pages)
    rows = numpy.concatenate([pool[page] for page in pages])
    return rows if FAULT == "whole-pages" else rows[:tokens]


def attend(q, k, v, scale):
    """q (heads, size), k and v (tokens, KV heads, size), numbers -> output, natural lse (heads)."""
    ratio = len(q) // k.shape[1]
    k, v = [numpy.repeat(numpy.asarray(x, numpy.float64), ratio, axis=1) for x in (k, v)]
    with numpy.errstate(all="ignore"):
        scores = numpy.einsum("hd,thd->ht", numpy.asarray(q, numpy.float64), k) * scale
        top = scores.max(axis=1, keepdims=True)
        weights = numpy.exp(scores - top)
        total = weights.sum(axis=1, keepdims=True)
        output = numpy.einsum("ht,thd->hd", weights, v) / total
        return output, (top + numpy.log(total))[:, 0]
