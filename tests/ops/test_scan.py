"""Every backend computes what the recurrence computes: outputs and gradients, in both directions."""

import pytest
import torch

from genemamba_sc.ops import available_backends, ssd_scan
from genemamba_sc.ops._chunked import ssd_chunked

NAMES = ("x", "dt", "A", "B", "C", "D")
# The compiled kernel knows the whole mixer only: tests/ops/test_read_tokens.py.
SCANS = [name for name in available_backends() if name != "compiled"]
FAST = [name for name in SCANS if name != "reference"]
# Relative to the norm of the truth. The gradient of A is a sum of differences over all tokens: the worst of all.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 5e-5, torch.bfloat16: 2e-2}


def scan_inputs(b=2, l=10, h=4, p=8, g=2, n=5, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    dt = torch.rand(b, l, h, generator=generator, dtype=torch.float64)
    A = -1 - 4 * torch.rand(h, generator=generator, dtype=torch.float64)
    tensors = (normal(b, l, h, p), dt, A, normal(b, l, g, n), normal(b, l, g, n), normal(h))
    return tuple(t.to(dtype).requires_grad_() for t in tensors)


def output_and_gradients(inputs, backend, weight, **options):
    y = ssd_scan(*inputs, backend=backend, **options)
    return (y.detach(), *torch.autograd.grad((y * weight).sum(), inputs))


def relative_error(value, truth):
    return float((value.double() - truth.double()).norm() / truth.double().norm().clamp(min=1e-30))


def assert_equals_reference(inputs, backend, tolerance, **options):
    weight = torch.randn(inputs[0].shape, generator=torch.Generator().manual_seed(1)).to(inputs[0].dtype)
    truth = output_and_gradients(inputs, "reference", weight, reverse=options.get("reverse", False))
    values = output_and_gradients(inputs, backend, weight, **options)
    errors = {n: relative_error(v, t) for n, v, t in zip(("y", *NAMES), values, truth) if t.any() or v.any()}
    assert max(errors.values()) < tolerance, errors


def test_reference_equals_two_steps_by_hand():
    x = torch.tensor([2.0, 3.0]).view(1, 2, 1, 1)
    dt = torch.tensor([0.5, 1.0]).view(1, 2, 1)
    A, D = torch.tensor([-1.0]), torch.tensor([10.0])
    B, C = (torch.tensor(v).view(1, 2, 1, 1) for v in ([4.0, 5.0], [6.0, 7.0]))
    decay = torch.exp(torch.tensor(-1.0))
    first = 0.5 * 2 * 4
    forwards = torch.stack([torch.tensor(6.0 * first + 20), 7 * (decay * first + 15) + 30])
    decay_back = torch.exp(torch.tensor(-0.5))
    backwards = torch.stack([6 * (decay_back * 15 + first) + 20, torch.tensor(7.0 * 15 + 30)])
    for reverse, expected in ((False, forwards), (True, backwards)):
        y = ssd_scan(x, dt, A, B, C, D, backend="reference", reverse=reverse)
        torch.testing.assert_close(y.flatten(), expected)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("reverse", [False, True], ids=["left to right", "right to left"])
@pytest.mark.parametrize("l", [1, 2, 31, 32, 33, 63, 64, 65, 200])
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_backend_equals_reference(backend, reverse, l, dtype):
    assert_equals_reference(scan_inputs(l=l, dtype=dtype), backend, TOLERANCE[dtype], reverse=reverse)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("chunk_size", [1, 2, 5, 16, 64])
def test_chunking_changes_nothing(backend, chunk_size):
    assert_equals_reference(scan_inputs(l=67), backend, 1e-10, chunk_size=chunk_size)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize(("h", "g"), [(1, 1), (4, 1), (4, 4), (6, 2)])
def test_groups_of_heads(backend, h, g):
    assert_equals_reference(scan_inputs(l=40, h=h, g=g), backend, 1e-10)


@pytest.mark.parametrize("reverse", [False, True], ids=["left to right", "right to left"])
def test_gradient_against_finite_differences(reverse):
    x, dt, A, B, C, D = scan_inputs(b=1, l=7, h=2, p=2, g=1, n=2)
    with torch.no_grad():
        dt[:, 3] = 0  # a pad in the middle has a derivative too

    def scan(*inputs):
        return ssd_scan(*inputs, chunk_size=3, backend="chunked", reverse=reverse)

    assert torch.autograd.gradcheck(scan, (x, dt, A, B, C, D))


@pytest.mark.parametrize("backend", SCANS)
@pytest.mark.parametrize("reverse", [False, True], ids=["left to right", "right to left"])
def test_steps_of_zero_change_nothing(backend, reverse):
    x, dt, A, B, C, D = (t.detach() for t in scan_inputs(l=40))
    alone = ssd_scan(x, dt, A, B, C, D, backend=backend, reverse=reverse)
    garbage = [1000 * torch.randn_like(t[:, :25]) for t in (x, B, C)]
    x, B, C = (torch.cat([t, extra], dim=1) for t, extra in zip((x, B, C), garbage))
    dt = torch.cat([dt, torch.zeros_like(dt[:, :25])], dim=1)
    padded = ssd_scan(x, dt, A, B, C, D, backend=backend, reverse=reverse)
    torch.testing.assert_close(padded[:, :40], alone, rtol=0, atol=1e-12)


def test_strong_decay_stays_finite():
    # exp of the running sum within a chunk underflows, and its inverse would overflow. The sum reaches -80,000, where
    # float32 is exact to 0.004: that is the tolerance.
    x, dt, A, B, C, D = scan_inputs(l=64, dtype=torch.float32)
    with torch.no_grad():
        dt.mul_(1000)
    assert_equals_reference((x, dt, A, B, C, D), "chunked", 4e-3)


def test_without_direct_connection():
    *inputs, D = scan_inputs(l=40)
    without = ssd_scan(*inputs, backend="chunked")
    torch.testing.assert_close(without, ssd_scan(*inputs, torch.zeros_like(D), backend="reference"))


def test_half_precision_accumulates_in_float32():
    inputs = scan_inputs(l=200, dtype=torch.bfloat16)
    truth = ssd_scan(*(t.detach().double() for t in inputs), backend="reference")
    y = ssd_scan(*(t.detach() for t in inputs), backend="chunked")
    assert y.dtype == torch.bfloat16
    # Half an ulp of bfloat16 is 2^-9: only the output is rounded.
    assert relative_error(y, truth) < 2**-9


def test_steps_may_be_wider_than_the_tokens():
    x, dt, A, B, C, D = (t.detach() for t in scan_inputs(l=40, dtype=torch.bfloat16))
    y = ssd_scan(x, dt.float(), A.float(), B, C, D.float(), backend="chunked")
    torch.testing.assert_close(y, ssd_scan(x, dt.float(), A.float(), B, C, D.float(), backend="reference"))


def test_autocast_does_not_reach_the_scan():
    inputs = scan_inputs(l=40, dtype=torch.float32)
    weight = torch.ones_like(inputs[0])
    plain = output_and_gradients(inputs, "chunked", weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = output_and_gradients(inputs, "chunked", weight)
    for value, expected in zip(under_autocast, plain):
        assert torch.equal(value, expected)


def test_slabs_of_cells_change_nothing(monkeypatch):
    inputs = scan_inputs(b=5, l=40)
    weight = torch.ones_like(inputs[0])
    whole = output_and_gradients(inputs, "chunked", weight)
    monkeypatch.setattr("genemamba_sc.ops._slabs._SLAB_ELEMENTS", 2 * inputs[0][0].numel())
    for value, expected in zip(output_and_gradients(inputs, "chunked", weight), whole):
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)


def test_keeps_only_its_inputs():
    inputs = scan_inputs(b=2, l=64)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()), lambda t: t):
        ssd_chunked(*inputs)
    assert sum(kept) == sum(t.numel() for t in inputs)


@pytest.mark.parametrize("backend", ["auto", *SCANS])
def test_sequences_without_tokens_stay_without(backend):
    inputs = scan_inputs(l=0)
    y = ssd_scan(*inputs, backend=backend)
    y.sum().backward()
    assert y.shape == (2, 0, 4, 8) and inputs[0].grad.shape == y.shape


@pytest.mark.parametrize("chunk_size", [0, 65, 128])
def test_refuses_chunk_size(chunk_size):
    with pytest.raises(ValueError, match=rf"between 1 and 64.*Got chunk_size={chunk_size}\. Use 32 or 64"):
        ssd_scan(*scan_inputs(), chunk_size=chunk_size)


def test_refuses_groups_that_do_not_divide_the_heads():
    with pytest.raises(ValueError, match=r"divide the number of heads\. Got 3 groups and 4 heads\. Choose ngroups"):
        ssd_scan(*scan_inputs(h=4, g=3))


def test_refuses_the_compiled_mixer_for_a_scan_alone():
    with pytest.raises(ValueError, match=r"scan alone must be one of .*Got 'compiled'.* Use 'auto', or read_tokens"):
        ssd_scan(*scan_inputs(), backend="compiled")
