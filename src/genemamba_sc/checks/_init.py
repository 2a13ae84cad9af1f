"""Test whether Mamba layers were trained: compare their weights with the initialisation that mamba-ssm documents."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float64
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from genemamba_sc.nn import EncoderConfig
from genemamba_sc.nn._mamba2 import DECAY_RANGE, STEP_RANGE

Verdict = Literal["changed", "as at the start", "like the start"]
LayersVerdict = Literal["trained", "partly trained", "untouched", "another start"]

# A family was changed if its probability under the initialisation, all its layers counted, is below this.
_ALPHA = 1e-4
# Number of values of one tensor that enter a test of their distribution.
_MOST = 20_000
_LOG_STEPS = (math.log(STEP_RANGE[0]), math.log(STEP_RANGE[1]))

Transform = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class FamilyVerdict:
    """Compare one kind of tensor, over all layers, with its initialisation.

    Parameters
    ----------
    name
        Name of the tensor within a layer.
    start
        The initialisation of the tensor.
    n_values
        Number of values in all layers.
    n_layers, n_changed
        Number of layers that have the tensor, and of those in which it is not what an initialisation gives.
    outside
        Share of the values that the initialisation cannot give: outside its range, or unequal to its constant.
    spread
        Standard deviation divided by that of the initialisation; NaN for constants.
    p_value
        P value of the Kolmogorov-Smirnov test that deviates most, times the number of tests; NaN for constants.
    verdict
        ``"as at the start"`` is exact: every value is still the constant. ``"like the start"`` is statistical: a change
        too small for the test cannot be excluded.
    """

    name: str
    start: str
    n_values: int
    n_layers: int
    n_changed: int
    outside: float
    spread: float
    p_value: float
    verdict: Verdict

    def __str__(self) -> str:
        test = "" if math.isnan(self.p_value) else f", spread {self.spread:.3f} of it, p {self.p_value:.1g}"
        return (
            f"{self.name:15} {self.verdict:15} {self.n_changed} of {self.n_layers} layers changed; "
            f"{self.outside:.3%} of {self.n_values:,} values outside {self.start}{test}"
        )


def check_layers(encoder: Mapping[str, Tensor], config: EncoderConfig) -> tuple[FamilyVerdict, ...]:
    """Compare every kind of tensor of the layers with its initialisation.

    Parameters
    ----------
    encoder
        State dict of the encoder.
    config
        Its configuration.

    Returns
    -------
    One verdict per kind of tensor; the list is empty without layers.
    """
    if config.n_layer == 0:
        return ()
    families = [_constant(encoder, config, name) for name in ("D", "norm.weight")]
    inner = config.expand * config.d_model
    uniforms: list[tuple[str, str, Transform, tuple[float, float]]] = [
        ("A_log", "exp in [1, 16]", torch.exp, DECAY_RANGE),
        ("dt_bias", "softplus log-uniform in [0.001, 0.1]", lambda t: F.softplus(t).log(), _LOG_STEPS),
    ]
    bounds = {
        "in_proj.weight": config.d_model**-0.5,
        "conv1d.weight": config.d_conv**-0.5,
        "conv1d.bias": config.d_conv**-0.5,
        "out_proj.weight": config.residual_init * inner**-0.5,
    }
    for name, bound in bounds.items():
        if bound > 0:
            uniforms.append((name, f"±{bound:.4g}", lambda t: t, (-bound, bound)))
    return (*families, *(_uniform(encoder, config, *family) for family in uniforms))


def layers_verdict(families: tuple[FamilyVerdict, ...]) -> LayersVerdict | None:
    """Summarise the verdicts; return ``None`` without layers.

    ``D`` and the norms start as ones and any step of an optimiser moves them, so they decide: ``"untouched"`` layers
    have exactly ones there, and everything else looks like the start. If only the other tensors deviate, the code that
    made the checkpoint started them differently, or kept these constants from training: ``"another start"``.
    """
    if not families:
        return None
    decisive = [family for family in families if math.isnan(family.p_value)]
    if all(family.n_changed == family.n_layers for family in decisive):
        return "trained"
    if any(family.n_changed for family in decisive):
        return "partly trained"
    return "another start" if any(family.verdict == "changed" for family in families) else "untouched"


def is_constant(tensor: Tensor, value: float = 1.0) -> bool:
    """Tell whether every number is exactly ``value``."""
    return bool((tensor == value).all())


def table_deviates(table: Tensor) -> bool:
    """Tell whether a gene table differs from PyTorch's initialisation, standard normal."""
    sample = _sample(table)
    return bool(stats.kstest(sample, "norm").pvalue < _ALPHA)


def _tensors(encoder: Mapping[str, Tensor], config: EncoderConfig, name: str) -> list[Tensor]:
    return [encoder[f"layers.{i}.mixer.{name}"].detach().cpu().float() for i in range(config.n_layer)]


def _constant(encoder: Mapping[str, Tensor], config: EncoderConfig, name: str) -> FamilyVerdict:
    tensors = _tensors(encoder, config, name)
    moved = [int((tensor != 1).sum()) for tensor in tensors]
    n_values = sum(tensor.numel() for tensor in tensors)
    changed = sum(n > 0 for n in moved)
    verdict: Verdict = "changed" if changed else "as at the start"
    nan = float("nan")
    return FamilyVerdict(name, "1", n_values, len(tensors), changed, sum(moved) / n_values, nan, nan, verdict)


def _uniform(
    encoder: Mapping[str, Tensor],
    config: EncoderConfig,
    name: str,
    start: str,
    transform: Transform,
    support: tuple[float, float],
) -> FamilyVerdict:
    """Test whether ``transform`` of the values is uniform on ``support``, in each layer and in all layers together."""
    raw = _tensors(encoder, config, name)
    tensors = [transform(tensor.double()) for tensor in raw]
    low, high = support
    slack = 4 * _precision(raw) * max(abs(low), abs(high))
    out = [int(((tensor < low - slack) | (tensor > high + slack)).sum()) for tensor in tensors]
    samples = [(_sample(tensor) - low) / (high - low) for tensor in tensors]
    n_tests = len(tensors) + 1
    p_values = [min(1.0, float(stats.kstest(sample, "uniform").pvalue) * n_tests) for sample in samples]
    # Layers have few values of some kinds: together they show what each layer alone does not.
    pooled = min(1.0, float(stats.kstest(np.concatenate(samples), "uniform").pvalue) * n_tests)
    changed = sum(n > 0 or p < _ALPHA for n, p in zip(out, p_values))
    n_values = sum(tensor.numel() for tensor in tensors)
    values = np.concatenate(samples)
    return FamilyVerdict(
        name=name,
        start=start,
        n_values=n_values,
        n_layers=len(tensors),
        n_changed=changed,
        outside=sum(out) / n_values,
        spread=float(np.std(values) * math.sqrt(12)),
        p_value=min(pooled, *p_values),
        verdict="changed" if changed or pooled < _ALPHA else "like the start",
    )


def _precision(tensors: list[Tensor]) -> float:
    """Return the relative precision the values were stored in: they may have been rounded to half precision."""
    for dtype in (torch.bfloat16, torch.float16):
        if all(torch.equal(tensor.to(dtype).float(), tensor) for tensor in tensors):
            return torch.finfo(dtype).eps
    return torch.finfo(torch.float32).eps


def _sample(tensor: Tensor) -> Float64[np.ndarray, "m"]:
    """Take at most 20,000 of the values, evenly spaced."""
    flat = tensor.detach().flatten().double()
    return flat[:: max(1, math.ceil(len(flat) / _MOST))].cpu().numpy()
