"""Of PyTorch what the adapters of paged kernels call, over numpy: their tests need no PyTorch and no
GPU. A tensor is an array of numpy with the methods that numpy names otherwise."""

import types

import numpy

__version__ = "of numpy"
float16, float32, uint8, int8, int32 = [
    numpy.dtype(name) for name in ("float16", "float32", "uint8", "int8", "int32")]
bfloat16 = None  # numpy has none


class Tensor(numpy.ndarray):
    detach = cpu = lambda self: self

    def to(self, _device):
        return self

    def contiguous(self):
        return as_tensor(numpy.ascontiguousarray(self))

    def numel(self):
        return self.size

    def numpy(self):
        return self.view(numpy.ndarray)


def as_tensor(x):
    return numpy.asarray(x).view(Tensor)


def tensor(x, dtype=None, device="cpu"):
    return as_tensor(numpy.array(x, dtype))


def empty(shape, dtype=float32, device="cpu"):
    return full(shape, 85, dtype)


def full(shape, value, dtype=float32, device="cpu"):
    return as_tensor(numpy.full(shape, value, dtype))


def zeros(shape, dtype=float32, device="cpu"):
    return full(shape, 0, dtype)


def ones(shape, dtype=float32, device="cpu"):
    return full(shape, 1, dtype)


def arange(count):
    return as_tensor(numpy.arange(count))


def cat(parts, dim=0):
    return as_tensor(numpy.concatenate(parts, axis=dim))


def stack(parts):
    return as_tensor(numpy.stack(parts))


cuda = types.SimpleNamespace(
    is_available=lambda: True, get_device_name=lambda: "numpy", get_device_capability=lambda: (0, 0))
