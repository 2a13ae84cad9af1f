"""Configure what pretraining minimises: the weights of its parts, and how genes are hidden."""

import math
import numbers
from dataclasses import dataclass, fields
from typing import Literal

from genemamba_sc._checks import whole_number

PathwayTokens = Literal["visible", "hidden"]


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Choices of :class:`PretrainingObjectives`.

    Parameters
    ----------
    mgm_weight
        Weight of masked gene modelling, which names each hidden gene by a softmax over all genes. As with every weight,
        0 switches the part off: it then has no parameters and costs nothing.
    denoise_weight
        Weight of predicting, from one part of a cell's genes, where the cell lies by the spectral vectors of another.
    spectral_weight
        Weight of predicting the spectral vector of each hidden gene.
    decode_weight
        Weight of telling from the cell embedding which genes were hidden, and in which order they stood.
    contrast_weight
        Weight of the contrast between two disjoint parts of a cell; a separate pass encodes both parts.
    pathway_weight
        Weight of the contrast between genes that share a pathway, where pathways are given; 0.1 as published.
    mask_rate
        Share of the genes that are hidden, in [0, 1).
    mask_span
        Number of genes of neighbouring ranks that are hidden together; these have nearly the same value.
    keep_rate, swap_rate
        Shares of the hidden genes that stay in the input, and that a random gene replaces; the others become [MASK]
        (BERT: 0.1 and 0.1). The default of 0 leaves no target in the input. A kept gene is solved by copying and still
        enters the loss, but not the reported accuracy. The embedding pools visible genes only, so BERT's reason for
        keeping some, that [MASK] never comes at inference, matters little here.
    hide_values
        Whether the value of a gene is hidden with its name. A value is divided by the gene's own median, so its last
        digits could tell which gene it belongs to.
    max_masked
        Largest number of hidden genes of a batch that enter the softmax and the spectral prediction, drawn anew for
        each batch. The limit keeps the expectation of the loss and raises its variance.
    max_anchors
        Largest number of occurrences of genes that the pathway contrast compares, drawn anew for each batch.
    pathway_tokens
        Which occurrences it compares: those of ``"visible"`` genes, whose hidden states hold the gene and its context;
        or those of ``"hidden"`` genes, whose states hold the context alone.
    pathway_temperature, contrast_temperature
        Temperatures that divide the cosines.

    Raises
    ------
    TypeError, ValueError
        If a value is of the wrong kind or out of range, or all weights are 0.
    """

    mgm_weight: float = 1.0
    spectral_weight: float = 0.0
    decode_weight: float = 0.0
    contrast_weight: float = 0.0
    denoise_weight: float = 0.0
    pathway_weight: float = 0.1
    mask_rate: float = 0.3
    mask_span: int = 1
    keep_rate: float = 0.0
    swap_rate: float = 0.0
    hide_values: bool = True
    max_masked: int = 1024
    max_anchors: int = 512
    pathway_tokens: PathwayTokens = "visible"
    pathway_temperature: float = 0.1
    contrast_temperature: float = 0.1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("hide_values", "pathway_tokens"):
                continue
            if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
                raise TypeError(f"{field.name} must be a number. Got {value!r}. Its default is {field.default!r}.")
            if field.name.endswith("_weight") and value < 0:
                raise ValueError(f"{field.name} must not be negative. Got {value!r}. Use 0 to switch the part off.")
            if field.name.endswith("_temperature") and value <= 0:
                raise ValueError(f"{field.name} must be positive. Got {value!r}. The published value is 0.1.")
        for name in ("mask_span", "max_masked", "max_anchors"):
            whole_number(name, getattr(self, name), 1)
        self._check_masking()
        if not any(getattr(self, field.name) for field in fields(self) if field.name.endswith("_weight")):
            raise ValueError("All weights are 0: nothing would be learned. Give at least one part a weight.")

    def _check_masking(self) -> None:
        if not isinstance(self.hide_values, bool):
            raise TypeError(f"hide_values must be True or False. Got {self.hide_values!r}. Pass a bool.")
        if self.pathway_tokens not in ("visible", "hidden"):
            raise ValueError(f"pathway_tokens must be 'visible' or 'hidden'. Got {self.pathway_tokens!r}. Choose one.")
        if not 0 <= self.mask_rate < 1:
            raise ValueError(f"mask_rate must lie in [0, 1). Got {self.mask_rate!r}. Hide a share, such as 0.3.")
        if not (self.keep_rate >= 0 and self.swap_rate >= 0 and self.keep_rate + self.swap_rate < 1):
            raise ValueError(
                "keep_rate and swap_rate must not be negative, and sum to less than 1. "
                f"Got {self.keep_rate!r} and {self.swap_rate!r}. Use 0 and 0, or BERT's 0.1 and 0.1."
            )
        needing = [name for name in ("mgm_weight", "spectral_weight", "decode_weight") if getattr(self, name)]
        if self.mask_rate == 0 and (needing or (self.pathway_weight and self.pathway_tokens == "hidden")):
            part = needing[0] if needing else "pathway_tokens='hidden'"
            raise ValueError(f"mask_rate must be above 0 for {part}. Got 0. Hide a share of the genes, such as 0.3.")
