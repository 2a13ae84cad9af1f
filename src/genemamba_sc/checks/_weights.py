"""Report what can be known of a checkpoint before anything is built on it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from anndata import AnnData
from torch import Tensor

from genemamba_sc._checks import whole_number
from genemamba_sc.checks._compared import TokenReader, compare, obs_of
from genemamba_sc.checks._init import (
    FamilyVerdict,
    LayersVerdict,
    check_layers,
    is_constant,
    layers_verdict,
    table_deviates,
)
from genemamba_sc.checks._leak import LeakReport, measure_leak
from genemamba_sc.checks._types_told import TypeComparison
from genemamba_sc.data import Tokens
from genemamba_sc.model._random_vectors import FEWEST_CELLS, RandomComparison
from genemamba_sc.nn import BiMambaEncoder, EncoderConfig
from genemamba_sc.nn._config import Combine
from genemamba_sc.weights._folder import CONFIG_FILE, read_json
from genemamba_sc.weights._own import is_own, read_own
from genemamba_sc.weights._published import read_published_weights
from genemamba_sc.weights._read import find_checkpoint, read_pretrained

_MEANING: dict[LayersVerdict | None, str] = {
    "trained": "gradients reached every layer, so the code that trained them used their output",
    "partly trained": "gradients reached some layers and not others",
    "untouched": "no gradient reached them",
    "another start": (
        "D and the norms are still exactly 1, the rest is not as mamba-ssm starts it: another initialisation without "
        "training, or training that spared these"
    ),
    None: "there are none",
}
_BUG = (
    "The rest was trained. That is what training with the identity bug of the public code gives, whose layers return "
    "their input"
)
_OPEN = (
    "Weights do not tell whether the code published beside them returns the layers' output (none of it is run here), "
    "nor do they show changes that are too small for the tests."
)
_NOT_COMPARED = f"random gene vectors: not compared; pass {FEWEST_CELLS} cells or more, with genes in the vocabulary."


@dataclass(frozen=True, eq=False)
class CheckpointReport:
    """Tell what a checkpoint is, and whether its parts were trained.

    Parameters
    ----------
    origin
        Where the checkpoint was read from.
    layout
        ``"genemamba_sc"``, ``"original"`` (the authors' code) or ``"huggingface"`` (their release).
    n_parameters
        Number of values stored.
    encoder_config
        Configuration that the shapes tell; the vocabulary size is the number of stored rows.
    has_combiner
        Whether a learned combiner joins the directions (gate or concat).
    combine
        How the directions are joined; ``None`` where there is a combiner and nothing says how it is used.
    families
        Comparison of each kind of tensor of the layers with its initialisation.
    layers
        Summary of the families; ``None`` without layers.
    rest_trained
        Whether the final norm, or the table of a published checkpoint, differs from its initialisation; this is the
        control.
    leak
        Accuracy with and without the target in sight; ``None`` where no cells were given or no head is stored.
    random
        Comparison with random gene vectors, without labels; ``None`` where fewer than 60 cells were given.
    types
        Comparison with random gene vectors and expression on labelled cells; ``None`` where no labels were named.
    """

    origin: str
    layout: str
    n_parameters: int
    encoder_config: EncoderConfig
    has_combiner: bool
    combine: Combine | None
    families: tuple[FamilyVerdict, ...]
    layers: LayersVerdict | None
    rest_trained: bool
    leak: LeakReport | None
    random: RandomComparison | None = None
    types: TypeComparison | None = None

    @property
    def looks_like_identity_bug(self) -> bool:
        """Whether layers are untouched while the rest was trained."""
        return self.layers == "untouched" and self.rest_trained

    def __str__(self) -> str:
        config = self.encoder_config
        combine = self.combine or "gate or concat; config.json does not say"
        lines = [
            f"{self.origin}: {self.layout} layout, {self.n_parameters:,} parameters",
            f"{config.n_layer} layers, width {config.d_model}, {config.vocab_size:,} rows in the gene table",
            f"directions combined by {combine} ({'a' if self.has_combiner else 'no'} combiner is stored)",
            f"layers: {self.layers or 'none'}; {_MEANING[self.layers]}.",
        ]
        if self.layers == "untouched":
            lines.append(f"{_BUG}." if self.rest_trained else "Neither was the rest: these weights were never trained.")
        lines += [f"  {family}" for family in self.families]
        if self.leak is None:
            lines.append("leak: not measured; pass cells, and weights that have a head.")
        else:
            lines += ["leak:", *(f"  {line}" for line in str(self.leak).splitlines()), *self._reading()]
        lines.append(_NOT_COMPARED if self.random is None else str(self.random))
        if self.types is not None:
            lines.append(str(self.types))
        return "\n".join([*lines, _OPEN])

    def _reading(self) -> list[str]:
        """Say in words what the scores mean."""
        assert self.leak is not None  # asked only where it was measured
        lines, following, same = [], self.leak.next_token, self.leak.same_token
        if following:
            both, alone, hidden = (following[name] for name in ("both", "left to right", "target hidden"))
            lines.append(
                f"  of the next-token accuracy, {both.accuracy - hidden.accuracy:+.1%} points are lost when the target "
                f"is hidden, {both.accuracy - alone.accuracy:+.1%} when the reverse direction is off (the network was "
                "not trained that way, so this is an upper bound)."
            )
            bare = following["none"].loss
            if bare < both.loss:
                lines.append(
                    f"  without layers the loss is lower ({bare:.3f}, with them {both.loss:.3f}): the head was trained "
                    "on the embeddings alone."
                )
        gone = same["visible"].accuracy - same["hidden"].accuracy
        return [*lines, f"  of the same-token accuracy, {gone:+.1%} points are lost when it is hidden."]


def checkpoint_report(
    name_or_path: str | os.PathLike[str],
    cells: AnnData | Tokens | None = None,
    *,
    revision: str | None = None,
    subfolder: str | None = None,
    combine: Combine | None = None,
    medians: str | os.PathLike[str] | None = None,
    n_cells: int = 16,
    max_len: int = 512,
    seed: int = 0,
    labels_key: str | None = None,
    batch_key: str | None = None,
    n_compared: int = 300,
) -> CheckpointReport:
    """Report what weights alone can tell, and with cells, whether they know more of them than random gene vectors.

    With cells it is also measured how much of their accuracy is leakage.

    Parameters
    ----------
    name_or_path, revision, subfolder, combine, medians
        As in :func:`read_pretrained`. A vocabulary is needed only with ``cells``.
    cells
        Cells with genes of the checkpoint, or their tokens. ``None`` examines the weights alone.
    n_cells
        Largest number of cells on which the leak is measured; they are a random subset.
    max_len
        Largest number of tokens per cell.
    seed
        Seed of cells, positions and random vectors.
    labels_key, batch_key
        Columns of ``obs`` with types and batches. With types, these are read from the embedding, from random gene
        vectors and from expression by the same method: logistic regression on 50 principal components, one batch after
        the other left out of the fit. Cells without a label are left out. Without types no label is read.
    n_compared
        Largest number of cells that are compared with random gene vectors; they are a random subset.

    Returns
    -------
    The report; printed, it says what was found and what cannot be known.

    Raises
    ------
    FileNotFoundError, ValueError, ImportError, OSError
        As in :func:`read_pretrained`; and ``ValueError`` where the cells share no gene with the checkpoint, there are
        no such columns, or fewer than two types.
    """
    n_cells, max_len = whole_number("n_cells", n_cells, 1), whole_number("max_len", max_len, 2)
    n_compared = whole_number("n_compared", n_compared, FEWEST_CELLS)
    columns = obs_of(cells, labels_key, batch_key)
    folder, _, origin = find_checkpoint(name_or_path, revision, subfolder)
    measured = _Measured()
    if cells is not None:
        pretrained = read_pretrained(
            name_or_path, revision=revision, subfolder=subfolder, combine=combine, medians=medians
        )
        encoder = BiMambaEncoder(pretrained.encoder_config)
        encoder.load_state_dict(pretrained.encoder)
        read = TokenReader(cells, pretrained.vocabulary, max_len, seed)
        measured = _Measured(
            measure_leak(encoder.eval(), pretrained.gene_head, read(n_cells), seed),
            *compare(encoder, read, columns, n_compared),
        )
    if is_own(read_json(folder / CONFIG_FILE)):
        return _report_own(folder, origin, measured)
    return _report_published(folder, origin, combine, measured)


class _Measured(NamedTuple):
    """Hold what was measured on cells."""

    leak: LeakReport | None = None
    random: RandomComparison | None = None
    types: TypeComparison | None = None


def _report_own(folder: Path, origin: str, measured: _Measured) -> CheckpointReport:
    own = read_own(folder, origin)
    config = own.encoder_config
    families = check_layers(own.encoder, config)
    return CheckpointReport(
        origin=origin,
        layout="genemamba_sc",
        n_parameters=sum(tensor.numel() for part in (own.encoder, own.gene_head) for tensor in part.values()),
        encoder_config=config,
        has_combiner=any(name.startswith("combiner") for name in own.encoder),
        combine=config.combine,
        families=families,
        layers=layers_verdict(families),
        rest_trained=not is_constant(own.encoder["norm_f.weight"]),
        **measured._asdict(),
    )


def _report_published(folder: Path, origin: str, combine: Combine | None, measured: _Measured) -> CheckpointReport:
    weights = read_published_weights(folder)
    config = weights.with_combine(combine) if combine or weights.combine else weights.config
    families = check_layers(weights.encoder, config)
    return CheckpointReport(
        origin=origin,
        layout=weights.layout,
        n_parameters=weights.n_parameters,
        encoder_config=config,
        has_combiner=weights.has_combiner,
        combine=combine or weights.combine,
        families=families,
        layers=layers_verdict(families),
        rest_trained=_rest_trained(weights.encoder),
        **measured._asdict(),
    )


def _rest_trained(encoder: dict[str, Tensor]) -> bool:
    return not is_constant(encoder["norm_f.weight"]) or table_deviates(encoder["embeddings.weight"])
