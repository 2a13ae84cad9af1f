"""Cut a batch into slabs of cells whose temporaries stay in a CPU's cache."""

from torch import Tensor

# 1 MiB of float32. Larger temporaries are also given back to the system each time, and page faults then cost more
# than the arithmetic.
_SLAB_ELEMENTS = 2**18


def slabs(like: Tensor) -> list[slice]:
    """Cut the cells of ``like`` (b, ...) into slices; a GPU has no such cache and takes the whole batch."""
    b = like.shape[0]
    size = max(1, _SLAB_ELEMENTS * b // max(like.numel(), 1)) if like.device.type == "cpu" else max(b, 1)
    return [slice(start, start + size) for start in range(0, b, size)]
