"""Check that this installation computes what it should: each backend on each device, against numbers made elsewhere."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from genemamba_sc.checks._selftest_cells import ReferenceCells, embed_tokens, read_reference_cells, tokens_of
from genemamba_sc.data import Tokens
from genemamba_sc.ops import Backend, MixerWeights, allows_tf32, available_backends, choose_backend, read_tokens
from genemamba_sc.weights._read import find_checkpoint, read_pretrained, shipped_checkpoint

SHIPPED_NAME = "mini"

# Relative errors that rounding explains. float32 rounds by 6e-8; sums over hundreds of tokens and channels in another
# order than the reference's gave up to 1.4e-5 (the gradient of dt_bias, a sum of differences over all tokens; compiled
# kernel on a CPU), and other libraries add in yet another order: 1e-4. bfloat16 rounds by 2e-3 after each of a layer's
# projections, its convolution, its scan and its norm, which gave up to 8e-3: 2e-2.
_TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 2e-2}
_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
_N_STATE = 16
_BACKENDS = [name for name in get_args(Backend) if name != "auto"]


@dataclass(frozen=True)
class SelftestRow:
    """Hold the result of one check.

    Parameters
    ----------
    device, backend
        Device and backend that were checked.
    check
        What was checked: ``"tokens"``, ``"embeddings"`` or ``"gradients"``, and in which precision.
    error
        Largest relative error (for tokens, the share of the cells that differ); NaN where the check raised an
        exception.
    tolerance
        The largest error that rounding explains.
    remark
        Why the check raised an exception, or why the tolerance is another one.
    """

    device: str
    backend: str
    check: str
    error: float
    tolerance: float
    remark: str = ""

    @property
    def ok(self) -> bool:
        """Whether the error is within the tolerance; NaN is not."""
        return self.error <= self.tolerance


@dataclass(frozen=True)
class SelftestReport:
    """Hold the verdict on an installation, which prints as a table.

    Parameters
    ----------
    rows
        One row per device, backend and check.
    not_run
        What could not be checked, and why; this does not count as passed.
    unavailable
        Backends that do not run here, and why; the others take their place.
    """

    rows: tuple[SelftestRow, ...]
    not_run: tuple[str, ...] = ()
    unavailable: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every check that was run passed."""
        return all(row.ok for row in self.rows)

    @property
    def complete(self) -> bool:
        """Whether every check was run."""
        return not self.not_run

    def __str__(self) -> str:
        lines = [f"{'device':<8}{'backend':<11}{'check':<22}{'error':>9}{'tolerance':>11}  verdict"]
        lines += [
            f"{r.device:<8}{r.backend:<11}{r.check:<22}{r.error:>9.1e}{r.tolerance:>11.0e}  "
            f"{'ok' if r.ok else 'FAILED'}{f' ({r.remark})' if r.remark else ''}"
            for r in self.rows
        ]
        lines += [f"unavailable: {line}" for line in self.unavailable]
        lines += [f"not run: {line}" for line in self.not_run]
        n_failed = sum(not row.ok for row in self.rows)
        if n_failed:
            return "\n".join([*lines, f"FAILED: {n_failed} of {len(self.rows)} checks"])
        left = "" if self.complete else f"; {len(self.not_run)} not run, so this is not the whole test"
        return "\n".join([*lines, f"passed: {len(self.rows)} checks{left}"])


def selftest(
    checkpoint: str | os.PathLike[str] | None = None, devices: Sequence[str | torch.device] | None = None
) -> SelftestReport:
    """Check that every backend on every device computes what it should.

    The gradients and outputs of a small mixer are compared with the recurrence in float64; the tokens and embeddings of
    cells that ship with a checkpoint are compared with those that were computed when it was made.

    Parameters
    ----------
    checkpoint
        A checkpoint with ``selftest.safetensors`` beside its weights; ``None`` takes the one that ships.
    devices
        Names of devices, such as ``["cpu", "cuda"]``; ``None`` takes all that exist here.

    Returns
    -------
    The report: ``print`` it, or look at ``ok``. A check that raises an exception has failed.

    Raises
    ------
    FileNotFoundError
        If ``checkpoint`` is given and does not exist.
    ValueError
        If the checkpoint is damaged, or its cells belong to other weights.
    """
    places = [torch.device(device) for device in (_devices() if devices is None else devices)]
    rows: list[SelftestRow] = []
    unavailable: list[str] = []
    for place in places:
        rows += _check_gradients(place)
        unavailable += _why_not(place)
    folder = shipped_checkpoint(SHIPPED_NAME) if checkpoint is None else find_checkpoint(checkpoint, None, None)[0]
    if folder is None:
        not_run = [f"tokens and embeddings: no checkpoint {SHIPPED_NAME!r} ships with this installation"]
    else:
        try:
            rows += _check_checkpoint(folder, read_reference_cells(folder), places)
            not_run = []
        except FileNotFoundError as error:
            not_run = [f"tokens and embeddings: {error}"]
    return SelftestReport(tuple(rows), tuple(not_run), tuple(unavailable))


def _devices() -> Iterator[str]:
    yield "cpu"
    if torch.cuda.is_available():
        yield "cuda"
    if torch.backends.mps.is_available():
        yield "mps"


def _why_not(device: torch.device) -> Iterator[str]:
    running = available_backends(device, torch.float32)
    for name in _BACKENDS:
        if name not in running:
            try:
                choose_backend(device, torch.float32, name)
            except RuntimeError as error:
                yield f"{name} on {device}: {error}"


def _check_checkpoint(folder: Path, cells: ReferenceCells, devices: Sequence[torch.device]) -> Iterator[SelftestRow]:
    pretrained = read_pretrained(folder)
    found = tokens_of(pretrained, cells.expression, cells.columns)
    yield SelftestRow("cpu", "tokenizer", "tokens", _share_of_other_cells(found, cells), 0.0)
    # Each stage is checked on its own: an error of the tokenizer is not one of the backends.
    truth = torch.from_numpy(cells.embeddings).double()
    values = found.values if found.ids.shape == cells.ids.shape else None
    if values is None:
        return
    tokens = Tokens(cells.ids, values, cells.lengths)
    for device in devices:
        for dtype in _TOLERANCES:
            for backend in available_backends(device, dtype):

                def compute(place: torch.device = device, name: str = backend, kind: torch.dtype = dtype) -> float:
                    return _error(embed_tokens(pretrained, tokens, place, name, kind), truth)

                yield _row(device, backend, "embeddings", dtype, compute)


def _share_of_other_cells(found: Tokens, cells: ReferenceCells) -> float:
    if found.ids.shape != cells.ids.shape:
        return 1.0
    return float((found.ids != cells.ids).any(axis=1).mean())


def _check_gradients(device: torch.device) -> Iterator[SelftestRow]:
    leaves, mask = _small_mixer()
    truth = _read(leaves, mask, torch.device("cpu"), torch.float64, "reference")
    for dtype in _TOLERANCES:
        for backend in available_backends(device, dtype):

            def compute(name: str = backend, kind: torch.dtype = dtype) -> float:
                values = _read(leaves, mask, device, kind, name)
                return max(_error(value[None], right[None]) for value, right in zip(values, truth))

            yield _row(device, backend, "gradients", dtype, compute)


def _row(
    device: torch.device, backend: str, check: str, dtype: torch.dtype, compute: Callable[[], float]
) -> SelftestRow:
    tolerance, remark = _TOLERANCES[dtype], ""
    if dtype == torch.float32 and allows_tf32():
        # The user has allowed products with the precision of bfloat16.
        tolerance = _TOLERANCES[torch.bfloat16]
        remark = "products of TF32 numbers are allowed"
    try:
        error = compute()
    except Exception as failure:  # noqa: BLE001  what raises on another machine is what this looks for
        error, remark = float("nan"), f"{type(failure).__name__}: {failure}"
    return SelftestRow(str(device), backend, f"{check} {_NAMES[dtype]}", error, tolerance, remark)


def _small_mixer() -> tuple[list[Tensor], Tensor]:
    """Make projected tokens and weights of a mixer with two heads, leaves in float64, and the mask of five cells."""
    heads, width, taps = 2, 64, 4
    lengths = torch.tensor([96, 41, 7, 1, 0])
    d_inner, channels = heads * width, heads * width + 2 * _N_STATE
    shapes = [(5, 96, d_inner + channels + heads), (channels, taps), (channels,), (heads,), (heads,), (heads,)]
    generator = torch.Generator().manual_seed(0)
    leaves = [torch.randn(s, generator=generator, dtype=torch.float64) for s in (*shapes, (d_inner,))]
    leaves[0] = leaves[0].bfloat16().double()  # all precisions read the same tokens
    leaves[3] -= 2  # steps of about 0.1
    leaves[4] = -1 - leaves[4].abs()
    return leaves, torch.arange(96) < lengths[:, None]


def _read(
    leaves: list[Tensor], mask: Tensor, device: torch.device, dtype: torch.dtype, backend: str
) -> tuple[Tensor, ...]:
    """Read in both directions; return the output, and the gradient of each leaf."""
    # The weights of a mixer stay in float32 where its tokens are in half precision.
    kinds = [dtype] + [torch.promote_types(dtype, torch.float32)] * (len(leaves) - 1)
    own = [leaf.to(device, kind).requires_grad_() for leaf, kind in zip(leaves, kinds)]
    projected, taps, conv_bias, dt_bias, A, D, norm = own
    weights = MixerWeights(taps, conv_bias, dt_bias, A, D, norm, n_groups=1, d_state=_N_STATE)
    y = read_tokens(projected, mask.to(device), weights, backend=backend)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y)
    results = (y.detach(), *torch.autograd.grad((y * weight).sum(), own))
    return tuple(result.cpu().double() for result in results)


def _error(values: Tensor, truth: Tensor) -> float:
    """Compute the largest error of a row, relative to the size of the row."""
    off = (values - truth).flatten(1).norm(dim=1)
    return float((off / truth.flatten(1).norm(dim=1).clamp(min=1e-30)).max())
