"""Compute what a run takes from the corpus before its first step: gene table, gene frequencies, gene at each rank."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, Integer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from genemamba_sc._digests import announce_digest, check_digest
from genemamba_sc._files import replacing_file
from genemamba_sc._json import quoted
from genemamba_sc.corpus import TokenCorpus
from genemamba_sc.nn import gene_log_frequency
from genemamba_sc.training._gene_table import GeneSample, common_rank_tokens

logger = logging.getLogger(__name__)

START_FILE = "start.safetensors"


@dataclass(frozen=True, eq=False)
class Start:
    """Hold what is taken from a sample of the corpus.

    Parameters
    ----------
    table
        Spectral gene table, shape (v, d); zeros where a token never occurs.
    denoised
        The same table, shrunk to what halves of cells tell about each other.
    log_frequency
        Logarithm of how often each token occurs, shape (v,).
    rank_genes
        Most frequent token at each rank, shape (max_len,).
    """

    table: Float[Tensor, "v d"]
    denoised: Float[Tensor, "v d"]
    log_frequency: Float[Tensor, "v"]
    rank_genes: Int[Tensor, "r"]

    @torch.no_grad()
    def set_table(self, weight: Float[Tensor, "v d"], kind: str = "spectral") -> None:
        """Write the rows into a gene table; tokens that never occur keep their random start.

        Parameters
        ----------
        weight
            The table, changed in place.
        kind
            ``"spectral"`` or ``"denoised"``.
        """
        known = self.table.abs().sum(dim=1) > 0
        weight[known] = (self.denoised if kind == "denoised" else self.table)[known].to(weight)


def start_from(
    corpus: TokenCorpus, cells: Integer[np.ndarray, "n"], d_model: int, max_len: int, seed: int, folder: Path
) -> Start:
    """Read a sample of the training cells, or what an earlier call left in ``folder``.

    Parameters
    ----------
    corpus, cells
        The corpus, and the numbers of its cells that train.
    d_model
        Number of columns of the table.
    max_len
        Number of tokens read of each cell.
    seed
        Seed of the sample and of the solver.
    folder
        Folder of the run. The result is kept there, so that other processes and later runs start from the same numbers.
    """
    kept = folder / START_FILE
    if not kept.exists():
        size = corpus.vocabulary.size
        sample = GeneSample.of(lambda rows: corpus.tokens(rows, max_len), cells, size, seed)
        ids, lengths = sample.tokens.ids, sample.tokens.lengths
        logger.info("Spectral start: a gene table of %d columns from %s cells.", d_model, f"{len(lengths):,}")
        table = sample.spectral(d_model)
        tensors = {
            "table": torch.from_numpy(table),
            "denoised": torch.from_numpy(sample.denoised(table)),
            "log_frequency": gene_log_frequency(torch.from_numpy(sample.occurrences())),
            "rank_genes": torch.from_numpy(common_rank_tokens(ids, lengths).astype(np.int64)),
        }
        with replacing_file(kept) as temporary:
            save_file(tensors, temporary)
            announce_digest(kept, temporary)
        unknown = int((tensors["table"].abs().sum(dim=1) == 0).sum())
        logger.info("Spectral start: %d of %d tokens keep a random row (never seen, or special).", unknown, size)
    return _read(kept, (corpus.vocabulary.size, d_model))


def _read(path: Path, shape: tuple[int, int]) -> Start:
    """Read what is kept of a start.

    Raises
    ------
    ValueError
        If it is damaged, or of a table of another shape.
    """
    way_out = "Remove it: the same call computes it anew."
    check_digest(path, way_out)
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file ({quoted(error)}). {way_out}") from error
    found = {name: (tuple(tensor.shape), str(tensor.dtype)) for name, tensor in tensors.items()}
    ranks = tensors.get("rank_genes", torch.empty(0))
    of = {"table": shape, "denoised": shape, "log_frequency": shape[:1]}
    expected = {name: (sizes, "torch.float32") for name, sizes in of.items()}
    expected["rank_genes"] = ((ranks.numel(),), "torch.int64")
    are_numbers = all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())
    if found != expected or not are_numbers or bool(((ranks < 0) | (ranks >= shape[0])).any()):
        raise ValueError(
            f"{path} must hold finite numbers of the shapes and kinds {expected}, and tokens. Got {quoted(found)}, "
            f"or others. {way_out}"
        )
    return Start(**tensors)
