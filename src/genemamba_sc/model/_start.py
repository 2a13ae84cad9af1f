"""Compute what precedes the first step: a gene table from the cells, scores of markers and programs from the labels."""

import numpy as np
import torch
from jaxtyping import Float32, Integer

from genemamba_sc._checks import GeneInit
from genemamba_sc.model._module import GeneMambaModule
from genemamba_sc.nn import gene_log_frequency
from genemamba_sc.training._cell_types import fit_cell_types
from genemamba_sc.training._dataset import TokenDataset
from genemamba_sc.training._gene_table import GeneSample

# Number of components of the cells themselves, for the programs: few labels find no direction among more.
_OWN_COMPONENTS = 16
_BLOCK = 4096


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


def start_genes(module: GeneMambaModule, sample: GeneSample, gene_init: GeneInit | None) -> None:
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
    """
    config = module.encoder_config
    table = None
    if gene_init in ("spectral", "denoised"):
        spectral = sample.spectral(config.d_model)
        table = torch.from_numpy(sample.denoised(spectral) if gene_init == "denoised" else spectral)
    counts = sample.occurrences(config.context_len)
    module.initialise_genes(table, gene_log_frequency(torch.from_numpy(counts)))


def start_cell_types(
    module: GeneMambaModule,
    dataset: TokenDataset,
    train: Integer[np.ndarray, "n"],
    validation: Integer[np.ndarray, "m"],
    sample: GeneSample,
    gene_init: GeneInit | None,
) -> Float32[np.ndarray, "n_obs c"]:
    """Fit the scores of markers and programs of the cell-type head on the training cells.

    Parameters
    ----------
    module
        Module whose head is set. Its programs read pools of two tables: its gene table, and the 16 leading spectral
        components of the training cells. The latter help most where there are many cells, a pretrained table where
        there are few.
    dataset
        Dataset of all cells, with their labels, and their batches where these are registered.
    train, validation
        Numbers of the cells of each kind.
    sample
        Sample of the training cells; its seed also draws the folds.
    gene_init
        How the gene table started; ``None`` means that it came with the weights. A ``"spectral"`` table is denoised for
        the programs: with few labels these need a table without directions of noise, while an embedding without labels
        is better with all directions.

    Returns
    -------
    Out-of-fold scores of every cell: training cells by cross-fitting, validation cells by the fit itself; 0 for other
    cells.

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
    tables = _program_tables(module, sample, gene_init)
    fit = fit_cell_types(dataset, train, labels[train], module.n_labels, tables, batches=of_train, seed=sample.seed)
    medians = dataset.vocabulary.token_medians.astype(np.float32)
    module.set_gene_scores(*(torch.from_numpy(values) for values in (fit.markers, fit.programs, fit.bias, medians)))
    scores = np.zeros((len(dataset), module.n_labels), dtype=np.float32)
    scores[train] = fit.held_out
    for start in range(0, len(validation), _BLOCK):
        rows = validation[start : start + _BLOCK]
        scores[rows] = fit.scores(dataset.tokens(rows), dataset.vocabulary)
    return scores


def _program_tables(
    module: GeneMambaModule, sample: GeneSample, gene_init: GeneInit | None
) -> list[Float32[np.ndarray, "v k"]]:
    """Return the table of the model, and one of the training cells themselves."""
    table = module.encoder.embeddings.weight.detach().float().cpu().numpy()
    if gene_init == "spectral":
        # Genes that no training cell has keep a random row, which no map of the others would suit.
        table = sample.denoised(np.where(sample.known()[:, None], table, 0.0))
    width = module.encoder_config.d_model if gene_init in ("spectral", "denoised") else 0
    return [table, sample.leading(_OWN_COMPONENTS, width)]
