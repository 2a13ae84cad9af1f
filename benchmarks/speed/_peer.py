"""The mixer of transformers, with the weights of one of ours."""

from torch import nn

from genemamba_sc.nn import Mamba2Mixer


def transformers_mixer(mixer: Mamba2Mixer) -> nn.Module:
    """transformers' module of the same shape and weights; it reads from left to right."""
    from transformers import Mamba2Config
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer as Theirs

    config = Mamba2Config(
        hidden_size=mixer.in_proj.in_features,
        num_heads=mixer.n_heads,
        head_dim=mixer.headdim,
        state_size=mixer.d_state,
        expand=2,
        n_groups=1,
        num_hidden_layers=1,
    )
    module = Theirs(config, layer_idx=0)
    module.load_state_dict(mixer.state_dict())
    return module
