"""Define what an encoder is made of: one frozen dataclass, stored with the weights."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from genemamba_sc._checks import finite_number

Combine = Literal["mean", "sum", "gate", "concat"]
ExpressionWeight = Literal["none", "bins"]
NormPlace = Literal["token", "cell"]

PUBLISHED_VOCAB_SIZE = 25_426


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Configuration of :class:`BiMambaEncoder`.

    Parameters
    ----------
    vocab_size
        Rows of the token table, special tokens included.
    d_model
        Width of the tokens and of the cell embedding.
    n_layer
        Bidirectional Mamba-2 layers; 0 gives the bag of tokens.
    d_state, d_conv, expand, headdim, ngroups
        Sizes of each :class:`Mamba2Mixer`.
    combine
        How the two directions are combined: ``"mean"`` or ``"sum"`` of the two, a learned ``"gate"`` between them, or a
        linear map of their concatenation (``"concat"``).
    shared_combiner
        Whether all layers use one combiner (as published) instead of one per layer; it has no effect for mean and sum.
    pre_norm
        Whether an RMSNorm precedes each mixer. The published model has none.
    expression
        ``"bins"`` multiplies each token by a learned weight for the half-octave of its value; ``"none"`` does not.
    n_bins
        Number of half-octaves, centred on the value 1.
    context_len
        How many tokens of each cell the layers read: the highest-ranked ones. The cell embedding pools all tokens.
        ``None`` lets the layers read all.
    token_dropout
        Mean share of the tokens that training leaves out, at most 0.5. Each cell draws its share uniformly from 0 to
        twice this.
    norm
        Where the final RMSNorm applies: to each token before the pool (``"token"``, as published) or to the pooled cell
        (``"cell"``). A norm per token would cancel the expression weight of a bag of tokens.
    residual_init
        Factor on each mixer's initial ``out_proj``; small values start the stack near the bag of tokens.
    exact_edges
        Whether a value that equals an edge of the half-octaves up to rounding may fall below it. Weights that were
        written before this field existed behave so, and get True.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    vocab_size: int
    d_model: int = 64
    n_layer: int = 1
    d_state: int = 16
    d_conv: int = 4
    expand: int = 1
    headdim: int = 64
    ngroups: int = 1
    combine: Combine = "mean"
    shared_combiner: bool = False
    pre_norm: bool = True
    expression: ExpressionWeight = "bins"
    n_bins: int = 16
    context_len: int | None = None
    token_dropout: float = 0.0
    norm: NormPlace = "cell"
    residual_init: float = 0.1
    exact_edges: bool = False

    def __post_init__(self) -> None:
        for name in ("vocab_size", "d_model", "d_state", "d_conv", "expand", "headdim", "ngroups", "n_bins"):
            _check_integer(name, getattr(self, name), least=1)
        _check_integer("n_layer", self.n_layer, least=0)
        if self.context_len is not None:
            _check_integer("context_len", self.context_len, least=1)
            if self.norm == "token":
                raise ValueError(
                    f"context_len needs norm='cell'. Got context_len={self.context_len} with norm='token', which pools "
                    "the normed output of the layers alone. Use context_len=None."
                )
        for name, kind in (("combine", Combine), ("expression", ExpressionWeight), ("norm", NormPlace)):
            _check_choice(name, getattr(self, name), get_args(kind))
        for name in ("shared_combiner", "pre_norm"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False. Got {getattr(self, name)!r}. Pass a bool.")
        for name in ("token_dropout", "residual_init"):
            finite_number(name, getattr(self, name), "Leave it out for the default.")
        if not 0 <= self.token_dropout <= 0.5:
            raise ValueError(
                f"token_dropout must lie in [0, 0.5]. Got {self.token_dropout!r}. Use 0 to keep every token."
            )
        if not self.residual_init >= 0:
            raise ValueError(
                f"residual_init must not be negative. Got {self.residual_init!r}. "
                "Use 1 for the usual initialisation, a small value to start near the bag of tokens."
            )
        if self.n_layer:
            self._check_heads()

    def _check_heads(self) -> None:
        inner = self.expand * self.d_model
        if inner % self.headdim:
            raise ValueError(
                f"headdim must divide expand * d_model = {inner}. Got headdim={self.headdim}. "
                f"Choose one of its divisors, for example headdim={math.gcd(inner, self.headdim)}."
            )
        if (inner // self.headdim) % self.ngroups:
            raise ValueError(
                f"ngroups must divide the number of heads, expand * d_model / headdim = {inner // self.headdim}. "
                f"Got ngroups={self.ngroups}. Use ngroups=1."
            )

    @classmethod
    def published(cls, n_layer: int = 24, d_model: int = 512, combine: Combine = "mean") -> "EncoderConfig":
        """Configure the published GeneMamba encoders (arXiv 2504.16956): 24 or 48 layers, width 512 or 768."""
        return cls(
            vocab_size=PUBLISHED_VOCAB_SIZE,
            d_model=d_model,
            n_layer=n_layer,
            d_state=64,
            expand=2,
            combine=combine,
            shared_combiner=True,
            pre_norm=False,
            expression="none",
            norm="token",
            residual_init=1.0,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "EncoderConfig":
        """Rebuild a configuration from :meth:`to_dict`.

        Raises
        ------
        ValueError
            If a field is unknown to this version, or ``vocab_size`` is missing.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(fields) - known)
        if unknown:
            raise ValueError(
                f"Every field must be one of {sorted(known)}. Got {unknown}. "
                "The weights may come from a newer version of genemamba-sc: update it."
            )
        if "vocab_size" not in fields:
            raise ValueError(
                f"An encoder configuration must have vocab_size. Got the fields {sorted(fields)}. "
                "Add the number of rows of the token table."
            )
        return cls(**{"exact_edges": True, **fields})


def _check_integer(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}. Got {value!r}. Pass such an integer.")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {list(choices)}. Got {value!r}. Choose one of them.")
