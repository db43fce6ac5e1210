"""Where paged kernels keep K and V, for the adapters of such kernels: a pool of pages in any order.

Besides the pages of the requests there are some that belong to nobody, page 0 among them, with which
engines fill a block table behind the last page of a request. Whatever no token is written to holds
the poison of the run: a kernel that reads it shows it.
"""

import random

import torch

UNUSED = 3


def poisoned(poison, shape, dtype, device):
    """A tensor of the bytes `poison`."""
    count = dtype.itemsize
    for n in shape:
        count *= n
    return torch.full((count,), poison, dtype=torch.uint8, device=device).view(dtype).reshape(shape)


class Pages:
    """Which pages each request has: of_request, lists; slots (sum of tokens), the place of each token
    in a pool of `count` pages of `size` tokens, the requests one after another."""

    def __init__(self, tokens, size, device):
        counts = [-(-n // size) for n in tokens]
        used = sum(counts)
        self.size, self.count = size, used + UNUSED
        order = random.Random(used).sample(range(1, self.count), used)
        first = [sum(counts[:request]) for request in range(len(counts) + 1)]
        self.of_request = [order[start:end] for start, end in zip(first, first[1:])]
        places = torch.arange(size)
        self.slots = torch.cat([
            (torch.tensor(pages)[:, None] * size + places[None]).reshape(-1)[:n]
            for n, pages in zip(tokens, self.of_request)]).to(device)

    def empty(self, poison, row, dtype, device):
        """A pool (pages, tokens of a page, *row)."""
        return poisoned(poison, (self.count, self.size, *row), dtype, device)

    def filled(self, poison, x):
        """A pool with x (sum of tokens, ...) in it."""
        pool = self.empty(poison, x.shape[1:], x.dtype, x.device)
        pool.reshape(-1, *x.shape[1:])[self.slots] = x
        return pool

    def table(self):
        """The pages of each request in a row, page 0 behind the last: a block table, a list of lists."""
        longest = max(len(pages) for pages in self.of_request)
        return [pages + [0] * (longest - len(pages)) for pages in self.of_request]
