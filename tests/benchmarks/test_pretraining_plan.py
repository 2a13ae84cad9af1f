"""The plan on paper counts what the encoder has."""

from dataclasses import replace

import plan
import pytest

from genemamba_sc import EncoderConfig
from genemamba_sc.nn import BiMambaEncoder

CONFIG = EncoderConfig(
    vocab_size=50, d_model=32, n_layer=2, d_state=8, expand=2, headdim=16, pre_norm=False, expression="none"
)


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, d_model=64, n_layer=3, d_conv=3)])
def test_parameters_are_those_of_the_encoder(config: EncoderConfig):
    assert plan.parameters(config) == sum(p.numel() for p in BiMambaEncoder(config).parameters())


def test_projections_are_two_operations_per_weight_and_serve_both_directions():
    wide = replace(CONFIG, d_state=1, d_conv=1)
    mixer = BiMambaEncoder(wide).layers[0].mixer
    weights = mixer.in_proj.weight.numel() + mixer.out_proj.weight.numel()
    rest = 2 * (2 * (64 + 2) + 2 * 4 * (1 + 64) + 4 * 64)
    assert plan.layer_flops(wide, chunk=4) == 2 * weights + rest
