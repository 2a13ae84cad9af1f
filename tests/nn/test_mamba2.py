"""The mixer is Mamba-2: against transformers' implementation, and against a plain loop."""

import pytest
import torch
from torch.nn import functional as F

from genemamba_sc.nn import Mamba2Mixer

SHAPES = {
    "one head": {"d_model": 8, "d_state": 4, "expand": 1, "headdim": 8},
    "four heads": {"d_model": 16, "d_state": 6, "expand": 2, "headdim": 8},
    "published ratio": {"d_model": 32, "d_state": 64, "expand": 2, "headdim": 64},
    "long convolution": {"d_model": 12, "d_state": 4, "expand": 2, "headdim": 6, "d_conv": 6},
}
LENGTHS = [70, 33, 2, 1, 0]


def new_mixer(seed=0, dtype=torch.float64, **shape):
    torch.manual_seed(seed)
    mixer = Mamba2Mixer(**shape).to(dtype)
    with torch.no_grad():
        mixer.D.normal_()
        mixer.norm.weight.normal_()
    return mixer


def new_cells(d_model, lengths=LENGTHS, dtype=torch.float64, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(len(lengths), max(lengths), d_model, generator=generator, dtype=torch.float64).to(dtype)
    mask = torch.arange(x.shape[1]) < torch.tensor(lengths)[:, None]
    return x.masked_fill(~mask[..., None], 0), mask


def reverse_valid(x, mask):
    """Reverse the real tokens of each cell and leave the pads where they are."""
    turned = x.clone()
    for row, real in enumerate(mask):
        turned[row, real] = x[row, real].flip(0)
    return turned


def loop_mixer(mixer, cell):
    """The whole mixer for one cell (l, d), token by token."""
    z, xbc, dt = mixer.in_proj(cell).split([mixer.d_inner, mixer.conv1d.in_channels, mixer.n_heads], dim=-1)
    d_conv = mixer.conv1d.kernel_size[0]
    width = mixer.ngroups * mixer.d_state
    state = cell.new_zeros(mixer.n_heads, mixer.headdim, mixer.d_state)
    outputs = []
    for t in range(len(cell)):
        convolved = mixer.conv1d.bias.clone()
        for j in range(min(d_conv, t + 1)):
            convolved = convolved + mixer.conv1d.weight[:, 0, d_conv - 1 - j] * xbc[t - j]
        x, B, C = F.silu(convolved).split([mixer.d_inner, width, width])
        x = x.view(mixer.n_heads, mixer.headdim)
        B, C = (v.view(mixer.ngroups, -1).repeat_interleave(mixer.n_heads // mixer.ngroups, 0) for v in (B, C))
        step = F.softplus(dt[t] + mixer.dt_bias)
        decay = torch.exp(-step * mixer.A_log.exp())
        state = decay[:, None, None] * state + (step[:, None] * x)[:, :, None] * B[:, None, :]
        y = (state * C[:, None, :]).sum(-1) + mixer.D[:, None] * x
        gated = (y.flatten() * F.silu(z[t])).view(mixer.ngroups, -1)
        normed = gated / (gated.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        outputs.append(mixer.out_proj(normed.flatten() * mixer.norm.weight))
    return torch.stack(outputs) if outputs else cell


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_equals_transformers(shape):
    transformers = pytest.importorskip("transformers")
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer as Theirs

    mixer = new_mixer(**shape)
    config = transformers.Mamba2Config(
        hidden_size=shape["d_model"],
        num_heads=mixer.n_heads,
        head_dim=mixer.headdim,
        state_size=shape["d_state"],
        expand=shape["expand"],
        conv_kernel=shape.get("d_conv", 4),
        n_groups=1,
        chunk_size=16,
        num_hidden_layers=1,
        layer_norm_epsilon=1e-5,
    )
    theirs = Theirs(config, layer_idx=0).double()
    theirs.load_state_dict(mixer.state_dict())
    x, mask = new_cells(shape["d_model"], lengths=[70, 70])
    # Theirs takes the decay and the norm through float32.
    torch.testing.assert_close(mixer(x, mask), theirs(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ngroups", [1, 2])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_equals_plain_loop(shape, ngroups):
    if (shape["expand"] * shape["d_model"] // shape["headdim"]) % ngroups:
        ngroups = 1
    mixer = new_mixer(**shape, ngroups=ngroups)
    x, mask = new_cells(shape["d_model"])
    out = mixer(x, mask)
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(out[row, :length], loop_mixer(mixer, x[row, :length]), rtol=1e-9, atol=1e-10)
        assert not out[row, length:].any()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_both_ways_equals_two_passes(shape):
    mixer = new_mixer(**shape)
    x, mask = new_cells(shape["d_model"])
    forwards, backwards = (mixer.out_proj(y) for y in mixer.both_ways(x, mask))
    torch.testing.assert_close(forwards, mixer(x, mask), rtol=1e-10, atol=1e-12)
    expected = reverse_valid(mixer(reverse_valid(x, mask), mask), mask)
    torch.testing.assert_close(backwards, expected, rtol=1e-10, atol=1e-12)


def test_both_ways_has_the_gradients_of_two_passes():
    mixer = new_mixer(**SHAPES["four heads"])
    x, mask = new_cells(16)
    x.requires_grad_()
    weight = torch.randn(2, *x.shape, dtype=x.dtype)
    leaves = [x, *mixer.parameters()]
    forwards, backwards = (mixer.out_proj(y) for y in mixer.both_ways(x, mask))
    once = torch.autograd.grad((weight[0] * forwards + weight[1] * backwards).sum(), leaves)
    second = reverse_valid(mixer(reverse_valid(x, mask), mask), mask)
    twice = torch.autograd.grad((weight[0] * mixer(x, mask) + weight[1] * second).sum(), leaves)
    for value, expected in zip(once, twice, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-8, atol=1e-10)


def test_pads_change_nothing_and_come_out_as_zero():
    mixer = new_mixer(**SHAPES["four heads"], dtype=torch.float32)
    x, mask = new_cells(16, dtype=torch.float32)
    expected = mixer.both_ways(x, mask)
    more = F.pad(mask, (0, 9))
    garbage = F.pad(x, (0, 0, 0, 9)).masked_fill(~more[..., None], torch.nan)
    padded = mixer.both_ways(garbage, more)
    torch.testing.assert_close(padded[:, :, :70], expected, rtol=0, atol=1e-5)
    assert not padded[:, ~more].any()


def test_parameters_are_those_of_mamba_ssm():
    # mamba_ssm.Mamba2(d_model=512, d_state=64): the shapes of the published checkpoint.
    with torch.device("meta"):
        shapes = {name: tuple(p.shape) for name, p in Mamba2Mixer(512).named_parameters()}
    assert shapes == {
        "in_proj.weight": (2192, 512),
        "conv1d.weight": (1152, 1, 4),
        "conv1d.bias": (1152,),
        "dt_bias": (16,),
        "A_log": (16,),
        "D": (16,),
        "norm.weight": (1024,),
        "out_proj.weight": (512, 1024),
    }


def test_initial_decay_and_steps_lie_in_their_ranges():
    torch.manual_seed(0)
    mixer = Mamba2Mixer(64, headdim=1)
    decay, steps = mixer.A_log.exp(), F.softplus(mixer.dt_bias)
    assert decay.min() >= 1
    assert decay.max() <= 16
    assert steps.min() >= 0.999e-3
    assert steps.max() <= 1.001e-1
    assert steps.log().mean().item() == pytest.approx(-4.6, abs=0.4)  # log-uniform: the middle is 0.01
    assert torch.equal(mixer.D, torch.ones(128))


def test_autocast_rounds_the_projections_only():
    mixer = new_mixer(**SHAPES["four heads"], dtype=torch.float32)
    x, mask = new_cells(16, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = mixer(x, mask)
    expected = mixer(x, mask)
    assert ((out - expected).norm() / expected.norm()).item() < 2e-2


def test_refuses_heads_that_do_not_divide_the_width():
    with pytest.raises(ValueError, match=r"divide expand \* d_model = 20\. Got headdim=8\. .*for example headdim=4"):
        Mamba2Mixer(10, headdim=8)
