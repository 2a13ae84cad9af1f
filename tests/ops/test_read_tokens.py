"""Every backend reads a cell as the recurrence says: outputs and gradients, in every direction, whatever the pads."""

import functools
import importlib
import os
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from genemamba_sc.ops import MixerWeights, _composed, _fused, available_backends, read_tokens
from genemamba_sc.ops._core import check_directions

NAMES = ("projected", "taps", "conv_bias", "dt_bias", "A", "D", "norm")
# The Triton kernels run on a GPU where there is one; elsewhere Triton interprets them, on the CPU.
GPU = "cuda" if torch.cuda.is_available() else "cpu"
FAST = [*(name for name in available_backends() if name != "reference"), "triton"]
# Relative to the norm of the truth. The gradients of dt_bias and A are sums of differences over all tokens.
TOLERANCE = {"dt_bias": 1e-4, "A": 1e-4}
SHAPES = {
    "one head": {"h": 1, "p": 8, "g": 1, "n": 4},
    "states not by four": {"h": 2, "p": 6, "g": 1, "n": 7},
    "groups": {"h": 4, "p": 8, "g": 2, "n": 5},
    "as by default": {"h": 1, "p": 64, "g": 1, "n": 16},
    "blocks narrower than a head": {"h": 2, "p": 64, "g": 1, "n": 200},
    "long convolution": {"h": 2, "p": 8, "g": 1, "n": 4, "k": 6},
    "no convolution": {"h": 2, "p": 8, "g": 1, "n": 4, "k": 1},
}


def new_inputs(lengths=(70, 33, 2, 1, 0), *, h=2, p=8, g=1, n=4, k=4, l=None, seed=0):
    """Leaves in float64, and the mask."""
    generator = torch.Generator().manual_seed(seed)
    l = max(lengths) if l is None else l
    d_inner = h * p
    x = d_inner + 2 * g * n
    shapes = [(len(lengths), l, d_inner + x + h), (x, k), (x,), (h,), (h,), (h,), (d_inner,)]
    leaves = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    leaves[4] = -1 - leaves[4].abs()
    leaves[3] -= 2  # steps of about 0.1
    mask = torch.arange(l) < torch.tensor(lengths)[:, None]
    return leaves, mask, {"n_groups": g, "d_state": n}


def read(leaves, mask, options, backend="auto", **given):
    if backend == "triton":
        return read_with_triton(leaves, mask, options, **given)
    return read_tokens(leaves[0], mask, MixerWeights(*leaves[1:], **options), backend=backend, **given)


def read_with_triton(leaves, mask, options, directions="sum"):
    kernels = triton_kernels()
    leaves = [t.to(GPU) for t in leaves]
    weights = MixerWeights(*leaves[1:], **options)
    return kernels.read_with_kernels(leaves[0], mask.to(GPU), weights, directions).cpu()


def triton_kernels():
    """The kernels. Whether Triton compiles or interprets is settled when it is imported; see tests/conftest.py."""
    pytest.importorskip("triton")
    if GPU == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("there is no GPU, and Triton was not told to interpret")
    kernels = importlib.import_module("genemamba_sc.ops._gpu._read")
    if GPU == "cpu" and not can_interpret_loops(kernels):
        pytest.skip("there is no GPU, and this Triton interprets no loop to a loaded bound with this numpy")
    return kernels


@functools.cache
def can_interpret_loops(kernels):
    from triton.runtime.errors import InterpreterError

    leaves, mask, options = new_inputs((1,))
    leaves = [t.float() for t in leaves]
    try:
        kernels.read_with_kernels(leaves[0], mask, MixerWeights(*leaves[1:], **options), "forward")
    except InterpreterError as error:  # Triton 3.6 with numpy 2.4 and later
        if "0-dimensional arrays can be converted to Python scalars" in str(error):
            return False
        raise
    return True


def skip_if_slow(backend, *, unless):
    """Triton interprets a kernel a thousand times slower than a GPU runs it: there a part of the cases must do."""
    if backend == "triton" and GPU == "cpu" and not unless:
        pytest.skip("takes minutes where Triton is interpreted; runs on a GPU")


def read_with_gradients(leaves, mask, options, dtype, **given):
    leaves = [t.to(dtype).requires_grad_() for t in leaves]
    y = read(leaves, mask, options, **given)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    return dict(zip(("y", *NAMES), (y.detach(), *torch.autograd.grad((y * weight).sum(), leaves)), strict=True))


def relative_error(value, truth):
    return float((value.double() - truth).norm() / truth.norm().clamp(min=1e-30))


def rounded(leaves, seed):
    """The inputs, moved as far as single precision moves them, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    return [leaf * (1 + 2**-24 * torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype)) for leaf in leaves]


def assert_equals_reference(inputs, backend, directions, dtype=torch.float32):
    truth = read_with_gradients(*inputs, torch.float64, directions=directions, backend="reference")
    values = read_with_gradients(*inputs, dtype, directions=directions, backend=backend)
    errors = {name: relative_error(values[name], truth[name]) for name in truth if truth[name].any()}
    allowed = {name: TOLERANCE.get(name, 5e-5) for name in errors}
    # With one head the gradient of dt_bias is one number, a sum in which nearly all cancels: to round the inputs alone
    # moves it by 2e-4. No backend in single precision can be asked for more than the inputs hold.
    further = {"directions": directions, "backend": "reference"}
    moved = read_with_gradients(rounded(inputs[0], seed=0), *inputs[1:], torch.float64, **further)
    allowed = {name: max(allowed[name], 3 * relative_error(moved[name], truth[name])) for name in errors}
    assert max(allowed.values()) < 2e-3, allowed
    wrong = {name: error for name, error in errors.items() if not error < allowed[name]}
    assert not wrong, (errors, allowed)
    assert all(not values[name].any() for name in truth if not truth[name].any())


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("directions", ["forward", "sum", "pair"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_backend_equals_reference(backend, directions, shape):
    skip_if_slow(backend, unless=shape.get("g") == 2 or (directions == "sum" and shape["n"] < 16))
    assert_equals_reference(new_inputs(**shape), backend, directions)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("l", [1, 3, 15, 16, 17, 63, 64, 65, 129])
def test_any_length(backend, l):
    skip_if_slow(backend, unless=l in (1, 64, 65))
    assert_equals_reference(new_inputs((l, 1)), backend, "sum")


@pytest.mark.parametrize("backend", FAST)
def test_long_cell_keeps_its_digits(backend):
    skip_if_slow(backend, unless=False)
    # The gradient of the decay is a running sum: without anchors its error grows with the cell.
    leaves, mask, options = new_inputs((2048,), p=16, n=8)
    truth = read_with_gradients(leaves, mask, options, torch.float64, backend="chunked")
    values = read_with_gradients(leaves, mask, options, torch.float32, backend=backend)
    errors = {name: relative_error(values[name], truth[name]) for name in truth}
    assert max(errors.values()) < 1e-4, errors


@pytest.mark.parametrize("backend", [*FAST, "reference"])
@pytest.mark.parametrize("directions", ["forward", "sum", "pair"])
def test_pads_change_nothing_and_come_out_as_zero(backend, directions):
    leaves, mask, options = new_inputs((9, 4))
    leaves = [t.float() for t in leaves]
    alone = read(leaves, mask, options, directions=directions, backend=backend)
    more = F.pad(mask, (3, 5))  # on either side
    padded = F.pad(leaves[0], (0, 0, 3, 5)).masked_fill(~more[..., None], torch.nan)
    y = read([padded, *leaves[1:]], more, options, directions=directions, backend=backend)
    torch.testing.assert_close(y[..., 3:-5, :], alone, rtol=0, atol=1e-5)
    assert not y[..., ~more, :].any()


@pytest.mark.parametrize("held", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("backend", ["reference", *FAST[:-1]])
def test_pads_change_no_gradient_whatever_they_hold(backend, held):
    def gradients(of):
        leaves, mask, options = new_inputs((9, 4))
        leaves = [t.to(torch.float32) for t in leaves]
        leaves[0] = leaves[0].masked_fill(~mask[..., None], of)
        leaves = [t.requires_grad_() for t in leaves]
        return torch.autograd.grad(read(leaves, mask, options, backend).square().sum(), leaves)

    for name, changed, expected in zip(NAMES, gradients(held), gradients(0.0)):
        assert torch.equal(changed, expected), name


@pytest.mark.parametrize("directions", ["forward", "sum", "pair"])
@pytest.mark.parametrize("backend", ["reference", *FAST[:-1]])
def test_cells_without_any_token(backend, directions):
    leaves, mask, options = new_inputs((0, 0), l=0)
    leaves = [t.to(torch.float32) for t in leaves]
    found = read(leaves, mask, options, backend, directions=directions)
    assert found.shape == ((2, 2, 0, 16) if directions == "pair" else (2, 0, 16))


def test_directions_that_are_none_are_refused():
    with pytest.raises(
        ValueError, match=r"directions must be one of \['forward', 'sum', 'pair'\]\. Got 'x'\. Choose one"
    ):
        check_directions("x")


@pytest.mark.parametrize("backend", FAST)
def test_gaps_between_tokens(backend):
    leaves, mask, options = new_inputs((12, 12))
    mask[0, 5] = mask[1, 7:10] = False
    leaves[0][~mask] *= 1000
    truth = read(leaves, mask, options, backend="reference")
    values = read([t.float() for t in leaves], mask, options, backend=backend)
    torch.testing.assert_close(values.double(), truth, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", [*FAST, "reference"])
def test_pair_adds_up_to_the_sum(backend):
    leaves, mask, options = new_inputs()
    leaves = [t.float() for t in leaves]
    pair = read(leaves, mask, options, directions="pair", backend=backend)
    torch.testing.assert_close(pair.sum(0), read(leaves, mask, options, directions="sum", backend=backend))
    torch.testing.assert_close(pair[0], read(leaves, mask, options, directions="forward", backend=backend))


@pytest.mark.parametrize("backend", [*FAST, "reference"])
def test_half_precision_is_rounded_once(backend):
    if backend == "triton" and GPU == "cpu":
        pytest.skip("Triton interprets no products of bfloat16; runs on a GPU")
    leaves, mask, options = new_inputs((40, 20))
    halves = [leaves[0].bfloat16(), *(t.float() for t in leaves[1:])]
    y = read(halves, mask, options, backend=backend)
    truth = read([halves[0].double(), *leaves[1:]], mask, options, backend="reference")
    assert y.dtype == torch.bfloat16
    # The composed form rounds after the convolution, after the scan and after the norm.
    assert relative_error(y, truth) < 2**-7


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("lengths", [(40,), (40, 40), (40, 1, 0, 30, 7)], ids=["one cell", "two", "five"])
def test_threads_change_nothing(monkeypatch, n_threads, lengths):
    monkeypatch.setattr(_fused, "_SMALL", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
    for directions in ("forward", "sum", "pair"):
        assert_equals_reference(new_inputs(lengths), "compiled", directions)


def test_jobs_share_the_tokens(monkeypatch):
    monkeypatch.setattr(_fused, "_SMALL", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    mask = torch.arange(10) < torch.tensor([10, 2, 2, 2, 2, 2])[:, None]
    assert _fused._jobs(mask, 2, 8) == [_fused._Job(0, 1, (0, 1)), _fused._Job(1, 6, (0, 1))]
    assert _fused._jobs(mask[:1], 2, 8) == [_fused._Job(0, 1, (0,)), _fused._Job(0, 1, (1,))]
    assert _fused._jobs(mask[:1], 1, 8) == [_fused._Job(0, 1, (0,))]
    assert _fused._jobs(mask[:0], 2, 8) == [_fused._Job(0, 0, (0, 1))]


@pytest.mark.parametrize("backend", FAST)
def test_no_cell_at_all(backend):
    leaves, mask, options = new_inputs((4,))
    y = read([leaves[0][:0].float(), *(t.float() for t in leaves[1:])], mask[:0], options, backend=backend)
    assert y.shape == (0, 4, 16)


def test_keeps_states_of_no_token():
    leaves, mask, options = new_inputs((64, 64))
    leaves = [t.float().requires_grad_() for t in leaves]
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        read(leaves, mask, options, backend="compiled")
    tokens, d_inner, h = mask.numel(), 16, 2
    # Inputs, the mask, the steps, and the scan's output in both directions; no (n, p) state.
    assert sum(kept) == sum(t.numel() for t in leaves) + tokens * (1 + h + 2 * d_inner)


def test_nothing_is_kept_without_gradients():
    leaves, mask, options = new_inputs((64, 64))
    leaves = [t.float().requires_grad_() for t in leaves]
    with torch.no_grad():
        y = read(leaves, mask, options, backend="compiled")
    assert y.grad_fn is None


def test_not_a_number_stays_visible():
    leaves, mask, options = new_inputs((8,))
    leaves = [t.float() for t in leaves]
    leaves[0][0, 3, 20] = torch.nan  # in x
    for backend in (*available_backends(), "triton"):
        assert read(leaves, mask, options, directions="forward", backend=backend)[0, 3:].isnan().any()


def test_kernels_outlive_a_fork_and_threads_of_torch_stay_as_they_were():
    code = """
import torch
from genemamba_sc.nn import Mamba2Mixer
torch.set_num_threads(2)
mixer, x = Mamba2Mixer(64, d_state=4), torch.randn(4, 700, 64)
y = mixer.sum_of_ways(x, torch.ones(4, 700, dtype=torch.bool))
y.sum().backward()
print(torch.get_num_threads())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout == "2\n"


def test_steps_are_never_in_half_precision():
    raw, bias = torch.full((1, 1, 1), -7.0, dtype=torch.bfloat16), torch.tensor([0.01], dtype=torch.bfloat16)
    steps = _composed._steps(raw, bias)
    assert steps.dtype == torch.float32
    torch.testing.assert_close(steps, F.softplus(raw.float() + bias.float()), rtol=1e-6, atol=0)


@pytest.mark.parametrize("backend", ["compiled", "triton"])
@pytest.mark.parametrize("shape", [{"h": 1, "p": 16, "n": 16}, {"h": 3, "p": 16, "n": 5}], ids=["one head", "three"])
def test_bits_do_not_depend_on_where_arrays_lie(shape, backend):
    skip_if_slow(backend, unless=False)
    leaves, mask, options = new_inputs((20, 9), **shape)
    first = read_with_gradients(leaves, mask, options, torch.float32, backend=backend)
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        sizes = torch.randint(1, 3000, (20,), generator=generator).tolist()
        between = [torch.empty(size) for size in sizes][::2]  # what stays moves what is allocated next
        again = read_with_gradients(leaves, mask, options, torch.float32, backend=backend)
        assert all(torch.equal(again[name], first[name]) for name in first)
        del between
