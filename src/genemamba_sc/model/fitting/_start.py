"""Compute what precedes the first step: a gene table from the cells, scores of markers and programs from the labels."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Integer

from genemamba_sc._checks import GeneInit
from genemamba_sc.model._module import GeneMambaModule
from genemamba_sc.model._progress import watched
from genemamba_sc.nn import gene_log_frequency
from genemamba_sc.training._cell_types import CellTypeFit, fit_cell_types, refit_cell_types
from genemamba_sc.training._dataset import TokenDataset
from genemamba_sc.training._gene_table import GeneSample

# Number of components of the cells themselves, for the programs: few labels find no direction among more.
_OWN_COMPONENTS = 16
_BLOCK = 4096
# Numbers of cells from which a step takes long enough to be named.
_SLOW_FIT, _SLOW_TABLE = 1_000, 4_000


@dataclass(frozen=True, eq=False)
class CellTypeStart:
    """Hold what the fit of the cell types found before training, and what fitting them again after it needs.

    Parameters
    ----------
    scores
        Out-of-fold scores of every cell, shape (n_obs, c): training cells by cross-fitting, validation cells by the fit
        itself; 0 for other cells.
    tables
        Gene tables that the programs read.
    blend
        Factors of markers and programs.
    seed
        Seed of the fits.
    """

    scores: Float32[np.ndarray, "n_obs c"]
    tables: list[Float32[np.ndarray, "v _"]]
    blend: tuple[float, float]
    seed: int


def sample_genes(
    dataset: TokenDataset, train: Integer[np.ndarray, "n"], seed: int = 0, *, within_batches: bool = False
) -> GeneSample:
    """Read the sample of the training cells that tables and frequencies come from.

    Parameters
    ----------
    dataset
        Dataset of all cells.
    train
        Numbers of the training cells; where there are more than 20,000, a fixed random subset is read.
    seed
        Seed of the subset and of the solver.
    within_batches
        Whether the table is to hold what varies within batches only.
    """
    batches = dataset.columns["batch"] if within_batches else None
    return GeneSample.of(dataset.tokens, train, dataset.vocabulary.size, seed, batches)


def start_genes(module: GeneMambaModule, sample: GeneSample, gene_init: GeneInit | None, *, show: bool = False) -> None:
    """Set the gene table and the gene frequencies from the training cells.

    Parameters
    ----------
    module
        Module whose table is set.
    sample
        Sample of the training cells.
    gene_init
        ``"spectral"`` or ``"denoised"`` computes the table from the sample. ``"random"`` keeps the random table that a
        new module is built with. ``None`` keeps the table that the weights came with.
    show
        Whether a progress bar may be drawn; it is where the sample has 4,000 cells or more.
    """
    config = module.encoder_config
    table = None
    if gene_init in ("spectral", "denoised"):
        watch = watched("Factorising the gene table", show=show and len(sample.tokens.lengths) >= _SLOW_TABLE)
        (spectral,) = (sample.spectral(width) for width in watch([config.d_model]))
        table = torch.from_numpy(sample.denoised(spectral) if gene_init == "denoised" else spectral)
    counts = sample.occurrences(config.context_len)
    module.initialise_genes(table, gene_log_frequency(torch.from_numpy(counts)))


def start_cell_types(
    module: GeneMambaModule,
    dataset: TokenDataset,
    train: Integer[np.ndarray, "n"],
    validation: Integer[np.ndarray, "m"],
    tables: list[Float32[np.ndarray, "v _"]],
    seed: int,
    *,
    show: bool = False,
) -> CellTypeStart:
    """Fit the scores of markers and programs of the cell-type head on the training cells.

    Parameters
    ----------
    module
        Module whose head is set.
    dataset
        Dataset of all cells, with their labels, and their batches where these are registered.
    train, validation
        Numbers of the cells of each kind.
    tables
        Gene tables whose pools the programs read; see :func:`program_tables`.
    seed
        Seed of the folds.
    show
        Whether a progress bar may be drawn; it is where there are 1,000 training cells or more.

    Raises
    ------
    ValueError
        If no training cell has a label.
    """
    labels = dataset.columns["labels"]
    if not ((labels[train] >= 0) & (labels[train] < module.n_labels)).any():
        raise ValueError(
            f"Classification needs labelled cells to train on. Got {len(train)} training cells without any label. "
            "Choose another split, or switch it off with plan_kwargs={'classification_weight': 0}."
        )
    batches = dataset.columns.get("batch")
    of_train = None if batches is None else batches[train]
    watch = watched("Fitting marker genes", show=show and len(train) >= _SLOW_FIT)
    fit = fit_cell_types(
        dataset, train, labels[train], module.n_labels, tables, batches=of_train, seed=seed, watch=watch
    )
    _set_scores(module, dataset, fit)
    scores = np.zeros((len(dataset), module.n_labels), dtype=np.float32)
    scores[train] = fit.held_out
    for start in range(0, len(validation), _BLOCK):
        rows = validation[start : start + _BLOCK]
        scores[rows] = fit.scores(dataset.tokens(rows), dataset.vocabulary)
    return CellTypeStart(scores, tables, fit.blend, seed)


def refit_on_all(
    module: GeneMambaModule, dataset: TokenDataset, cells: Integer[np.ndarray, "n"], start: CellTypeStart
) -> None:
    """Fit markers and programs again after training, on training and validation cells.

    What the encoder adds stays: it was trained on out-of-fold scores, so it does not depend on which cells were held
    out.

    Parameters
    ----------
    module
        Trained module whose head is set.
    dataset
        Dataset of all cells.
    cells
        Numbers of the training and validation cells.
    start
        What was found before training; its blend and its tables stay.
    """
    labels, batches = dataset.columns["labels"][cells], dataset.columns.get("batch")
    of_cells = None if batches is None else batches[cells]
    fit = refit_cell_types(
        dataset, cells, labels, module.n_labels, start.tables, start.blend, batches=of_cells, seed=start.seed
    )
    _set_scores(module, dataset, fit)


def _set_scores(module: GeneMambaModule, dataset: TokenDataset, fit: CellTypeFit) -> None:
    medians = dataset.vocabulary.token_medians.astype(np.float32)
    # The encoder learns from scores without the offsets of rare types: it would unlearn them.
    bias = fit.bias + fit.towards_rare
    module.set_gene_scores(*(torch.from_numpy(values) for values in (fit.markers, fit.programs, bias, medians)))


def program_tables(
    module: GeneMambaModule, sample: GeneSample, gene_init: GeneInit | None
) -> list[Float32[np.ndarray, "v _"]]:
    """Choose the tables whose pools the programs read: the gene table of the module, and 16 spectral components.

    The latter are of the training cells and help most where there are many; a pretrained table helps where there are
    few.

    Parameters
    ----------
    module
        Module with its gene table.
    sample
        Sample of the training cells.
    gene_init
        How the gene table started; ``None`` means that it came with the weights. A ``"spectral"`` table is denoised for
        the programs: with few labels these need a table without directions of noise, while an embedding without labels
        is better with all directions.
    """
    table = module.encoder.embeddings.weight.detach().float().cpu().numpy()
    if gene_init == "spectral":
        # Genes that no training cell has keep a random row, which no map of the others would suit.
        table = sample.denoised(np.where(sample.known()[:, None], table, 0.0))
    width = module.encoder_config.d_model if gene_init in ("spectral", "denoised") else 0
    return [table, sample.leading(_OWN_COMPONENTS, width)]
