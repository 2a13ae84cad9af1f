"""The convolution and the gated norm equal plain torch, values and gradients."""

import pytest
import torch
from torch.nn import functional as F

from genemamba_sc.ops import conv_silu, gated_rms_norm


def normal(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


def plain_conv(x, weight, bias, reverse):
    x = x.flip(1) if reverse else x
    padded = F.pad(x.transpose(1, 2), (weight.shape[1] - 1, 0))
    y = F.silu(F.conv1d(padded, weight[:, None], bias, groups=x.shape[2])).transpose(1, 2)
    return y.flip(1) if reverse else y


def plain_norm(y, z, weight, groups, eps):
    gated = (y * F.silu(z)).unflatten(-1, (groups, -1))
    return (gated / (gated.square().mean(-1, keepdim=True) + eps).sqrt()).flatten(-2) * weight


def assert_same(function, plain, inputs, tolerance):
    values, truth = function(*inputs), plain(*inputs)
    weight = normal(*truth.shape, seed=9).detach().to(truth.dtype)
    gradients = torch.autograd.grad((values * weight).sum(), inputs)
    expected = torch.autograd.grad((truth * weight).sum(), inputs)
    for value, target in zip((values, *gradients), (truth, *expected), strict=True):
        torch.testing.assert_close(value, target, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("slab", [1, 2**18], ids=["cell by cell", "whole batch"])
@pytest.mark.parametrize("reverse", [False, True], ids=["last tokens", "next tokens"])
@pytest.mark.parametrize(("l", "k"), [(1, 4), (2, 4), (3, 4), (20, 4), (20, 1), (20, 2)])
def test_conv(monkeypatch, slab, reverse, l, k):
    monkeypatch.setattr("genemamba_sc.ops._slabs._SLAB_ELEMENTS", slab)
    inputs = normal(3, l, 6), normal(6, k, seed=1), normal(6, seed=2)
    assert_same(
        lambda *t: conv_silu(*t, reverse=reverse), lambda *t: plain_conv(*t, reverse=reverse), inputs, tolerance=1e-12
    )


@pytest.mark.parametrize("slab", [1, 2**18], ids=["cell by cell", "whole batch"])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_gated_norm(monkeypatch, slab, groups):
    monkeypatch.setattr("genemamba_sc.ops._slabs._SLAB_ELEMENTS", slab)
    inputs = normal(3, 5, 6), normal(3, 5, 6, seed=1), normal(6, seed=2)
    assert_same(
        lambda *t: gated_rms_norm(*t, groups=groups, eps=1e-3),
        lambda *t: plain_norm(*t, groups=groups, eps=1e-3),
        inputs,
        tolerance=1e-12,
    )


def test_half_precision_is_rounded_once():
    x, weight, bias = normal(2, 9, 6, dtype=torch.bfloat16), normal(6, 4, seed=1), normal(6, seed=2)
    y = conv_silu(x, weight, bias)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.double(), plain_conv(x.double(), weight, bias, False), rtol=2**-8, atol=1e-6)
    z, scale = normal(2, 9, 6, seed=3, dtype=torch.bfloat16), normal(6, seed=4)
    out = gated_rms_norm(x, z, scale)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.double(), plain_norm(x.double(), z.double(), scale, 1, 1e-5), rtol=2**-8, atol=1e-6)


def test_zero_gate_gives_zero():
    y = normal(1, 4, 6)
    out = gated_rms_norm(y, torch.zeros_like(y), torch.ones(6, dtype=torch.float64))
    assert torch.equal(out, torch.zeros_like(y))
