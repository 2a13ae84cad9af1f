"""Run the compiled mixer: everything between the two projections of a Mamba-2 mixer in one pass, on CPUs.

As many threads as PyTorch uses share the cells; each thread reads its cells, in both directions, without the
interpreter's lock. Pads are not read. Where there are fewer cells than threads, the threads share directions instead.
"""

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from genemamba_sc._types import Mask
from genemamba_sc.ops._chunked import ssd_chunked
from genemamba_sc.ops._composed import read_composed
from genemamba_sc.ops._core import Directions, MixerWeights, Projected, Read, n_readings
from genemamba_sc.ops._fused_arrays import Batch, Gradients, Mixer

# Largest relative error that the self-test allows; float32 rounding gives 1e-7.
_MOST_ERROR = 1e-5
# Number of elements below which another thread costs more than it saves.
_SMALL = 2**18


class _Job(NamedTuple):
    """Describe what one thread does: cells ``first`` to ``last``, in directions 0 (left to right), 1 or both."""

    first: int
    last: int
    directions: tuple[int, ...]


def read_compiled(projected: Projected, mask: Mask, weights: MixerWeights, directions: Directions) -> Read:
    """Compute what :func:`genemamba_sc.ops.read_tokens` describes, in float32; once differentiable."""
    first, last = _spans(mask).T
    if (last - first != mask.sum(1).numpy()).any():  # the kernel reads what stands between the first and the last token
        projected = projected.masked_fill(~mask[..., None], 0)
    tensors = [t.float().contiguous() for t in (projected, *weights.tensors)]
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    options = _Options((weights.n_groups, weights.d_state, weights.eps), directions, keep)
    out = _FusedRead.apply(mask, options, *tensors)
    return out.to(projected.dtype)


@functools.cache
def why_not(device: torch.device, dtype: torch.dtype) -> str | None:
    """Compile the kernels (or read them from disk) and compare them with plain PyTorch, once per process.

    Returns
    -------
    ``None`` if they run and agree, otherwise the reason why they are not used.
    """
    if device.type != "cpu":
        return f"the compiled kernels are for CPUs, this device is {str(device)!r}"
    if dtype not in (torch.float32, torch.bfloat16):
        return f"the compiled kernels work in float32, not in {dtype}"
    try:
        error = _self_test()
    except Exception as failure:  # noqa: BLE001  whatever a compiler on another machine raises, none may stop us
        return f"the kernels do not compile: {type(failure).__name__}: {failure}"
    return None if error < _MOST_ERROR else f"the compiled kernels are off by {error:.1e} of what plain PyTorch gives"


@functools.cache
def _self_test() -> float:
    """Compute the largest relative error over one small batch, both directions, against the chunked form."""
    generator = torch.Generator("cpu").manual_seed(0)  # whatever the user's default device and dtype are
    heads, p, n = 2, 20, 6
    d_inner, k = heads * p, 4
    x = d_inner + 2 * n
    shapes = [(2, 20, d_inner + x + heads), (x, k), (x,), (heads,), (heads,), (heads,), (d_inner,)]
    projected, taps, bias, dt_bias, A, D, norm = (
        torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu") for shape in shapes
    )
    weights = MixerWeights(taps, bias, dt_bias, -A.exp(), D, norm, n_groups=1, d_state=n)
    mask = torch.arange(20, device="cpu") < torch.tensor([[20], [7]], device="cpu")
    with torch.no_grad():
        values = read_compiled(projected, mask, weights, "pair")
        truth = read_composed(ssd_chunked, projected, mask, weights, "pair")
    return float((values - truth).norm() / truth.norm())


class _Options(NamedTuple):
    """Hold what a reading needs beside its tensors; the first three are sizes of :class:`MixerWeights`."""

    sizes: tuple[int, int, float]
    directions: Directions
    keep: bool


class _FusedRead(torch.autograd.Function):
    """Keep the inputs, the steps and the scan's output for the gradient; states are computed again."""

    @staticmethod
    def forward(ctx: Any, mask: Tensor, options: _Options, projected: Tensor, *weights: Tensor) -> Tensor:
        from genemamba_sc.ops._fused_forward import read_cells

        b, l, _ = projected.shape
        mixer, dt_bias = mixer_of(weights, *options.sizes), weights[2]
        n, d_inner = n_readings(options.directions), mixer.norm.size
        dt = F.softplus(projected[..., -len(dt_bias) :] + dt_bias).masked_fill_(~mask[..., None], 0)
        jobs = _jobs(mask, n, d_inner)
        apart = n == 2 and (options.directions == "pair" or len(jobs[0].directions) == 1)
        out = projected.new_empty((2 if apart else 1, b, l, d_inner))
        kept = projected.new_empty((n, b, l if options.keep else 0, d_inner))
        cells, out_array, kept_array = (projected.numpy(), dt.numpy(), _spans(mask)), out.numpy(), kept.numpy()

        def run(job: _Job) -> None:
            for way in job.directions:
                batch = Batch(*cells, job.first, job.last, way == 1)
                read_cells(batch, mixer, way == 1 and not apart, out_array[way if apart else 0], kept_array[way])

        _run(run, jobs)
        ctx.save_for_backward(mask, projected, dt, kept, *weights)
        ctx.options = options
        if options.directions == "pair":
            return out
        return out[0].add_(out[1]) if apart else out[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        from genemamba_sc.ops._fused_backward import cell_gradients

        mask, projected, dt, kept, *weights = ctx.saved_tensors
        mixer, dt_bias = mixer_of(weights, *ctx.options.sizes), weights[2]
        n = n_readings(ctx.options.directions)
        jobs = _jobs(mask, n, mixer.norm.size)
        apart = n == 2 and len(jobs[0].directions) == 1
        dout = dout.float().contiguous()
        douts = [d.numpy() for d in (dout if ctx.options.directions == "pair" else (dout, dout))]
        dprojected = projected.new_empty((2 if apart else 1, *projected.shape))
        ddt = dt.new_empty((2 if apart else 1, *dt.shape))
        cells, sums = (projected.numpy(), dt.numpy(), _spans(mask)), [_sums(mixer) for _ in jobs]
        kept_array, dprojected_array, ddt_array = kept.numpy(), dprojected.numpy(), ddt.numpy()

        def run(job: _Job) -> None:
            for way in job.directions:
                batch, where = Batch(*cells, job.first, job.last, way == 1), way if apart else 0
                targets = (dprojected_array[where], ddt_array[where], way == 1 and not apart)
                gradients = Gradients(*targets, *sums[jobs.index(job)])
                cell_gradients(batch, mixer, kept_array[way], douts[way], gradients)

        _run(run, jobs)
        if apart:
            dprojected[0] += dprojected[1]
            ddt[0] += ddt[1]
        dprojected, ddt = dprojected[0], ddt[0]
        steps = projected[..., -len(dt_bias) :]
        draw = torch.mul(ddt, torch.sigmoid(steps + dt_bias)).masked_fill_(~mask[..., None], 0)
        dprojected[..., -len(dt_bias) :] = draw
        dtaps, dconv_bias, dA, dD, dnorm = (torch.from_numpy(sum(parts)).float() for parts in zip(*sums))
        return None, None, dprojected, dtaps.T, dconv_bias, draw.sum((0, 1)), dA, dD, dnorm


def mixer_of(weights: Sequence[Tensor], n_groups: int, d_state: int, eps: float) -> Mixer:
    """Bundle the weights, ordered as :attr:`MixerWeights.tensors`, for the kernels; dt already has its bias."""
    taps, conv_bias, _, A, D, norm = weights
    arrays = (taps.T.contiguous().numpy(), conv_bias.numpy(), A.numpy(), D.numpy(), norm.numpy())
    return Mixer(*arrays, n_groups, d_state, eps)


def _spans(mask: Tensor) -> np.ndarray:
    """Find the first real token of each cell and the position after its last one, (b, 2)."""
    real = mask.numpy()
    last = np.where(real.any(axis=1), real.shape[1] - real[:, ::-1].argmax(axis=1), 0)
    return np.stack([np.minimum(real.argmax(axis=1), last), last], axis=1)


def _jobs(mask: Tensor, n: int, d_inner: int) -> list[_Job]:
    """Divide the cells among the threads, with about as many tokens for each."""
    b = len(mask)
    n_threads = torch.get_num_threads() if mask.numel() * d_inner * n > _SMALL else 1
    if 1 < n_threads and b < n_threads and n == 2:
        return [_Job(0, b, (0,)), _Job(0, b, (1,))]
    upto = mask.sum(1).cumsum(0).numpy()
    shares = np.arange(1, n_threads) * (upto[-1] if b else 0) / n_threads
    cuts = np.unique([0, *(np.searchsorted(upto, shares) + 1 if b else []), b]) if n_threads > 1 else [0, b]
    return [_Job(int(first), int(last), tuple(range(n))) for first, last in zip(cuts, cuts[1:])]


def _run(run: Callable[[_Job], None], jobs: list[_Job]) -> None:
    if len(jobs) == 1:
        return run(jobs[0])
    with ThreadPoolExecutor(len(jobs) - 1) as pool:
        others = [pool.submit(run, job) for job in jobs[1:]]
        run(jobs[0])
        for other in others:
            other.result()


def _sums(mixer: Mixer) -> tuple[np.ndarray, ...]:
    """Make zeros for the gradients of taps, bias, A, D and norm weight; those of A and D in double precision."""
    taps, bias, norm = (np.zeros(weight.shape, dtype=np.float32) for weight in (mixer.taps, mixer.bias, mixer.norm))
    return taps, bias, np.zeros(len(mixer.A)), np.zeros(len(mixer.D)), norm
