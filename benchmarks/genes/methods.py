"""Scores of all pairs of some genes in some cells: (cells, genes) -> a table, genes × genes.

``own`` is a model fitted to the cells at hand, without labels and without a step of training; ``mini`` the weights that
ship. Neither was shown a pathway or a regulon; ``mini`` was pretrained on cells of all open sets, these among them.
"""

import warnings
from collections.abc import Callable
from functools import cached_property

import anndata as ad
import numpy as np
import scvi
from pairs import aliases
from sets import data_folder
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.preprocessing import StandardScaler

import genemamba_sc as gm
from genemamba_sc.benchmark import CLIP, log_cp10k
from genemamba_sc.data import match_genes
from genemamba_sc.tl.parts import Cells as AskedCells
from genemamba_sc.tl.parts import find_genes, relate_genes

MOST_CELLS, COMPONENTS, TREES, FOREST_CELLS = 3000, 20, 50, 1000
DISJOINT_SETS = (
    "pbmc3k", "zheng_sorted", "kang_ctrl", "cell_lines", "onek1k", "pbmc_chemistries", "pbmc_frozen", "pbmc_lanes",
)  # fmt: skip


class Cells:
    """Cells, the columns and names of the genes that are asked about, their tokens, and models that are made once."""

    def __init__(self, adata: ad.AnnData, columns: np.ndarray, tokens: np.ndarray) -> None:
        self.adata, self.columns, self.tokens = adata, columns, tokens
        self.names = [str(name) for name in adata.var_names[columns]]

    @cached_property
    def own(self) -> gm.GeneMambaModel:
        scvi.settings.seed = 0
        cells = self.adata.copy()
        gm.GeneMambaModel.setup_anndata(cells)
        model = gm.GeneMambaModel(cells)
        model.train(max_epochs=0, enable_progress_bar=False, accelerator="cpu")
        return model

    @cached_property
    def mini(self) -> gm.GeneMambaModel:
        return mini()

    @cached_property
    def scaled(self) -> np.ndarray:
        """Log-normalised expression of the genes, z-scored."""
        return StandardScaler().fit_transform(log_cp10k(self.adata)[:, self.columns].toarray())


def mini() -> gm.GeneMambaModel:
    model = gm.GeneMambaModel.from_pretrained("mini", accelerator="cpu")
    model.gene_aliases = aliases()
    return model


def load_cells(name: str) -> ad.AnnData:
    """At most 3,000 cells of a set, drawn at random."""
    adata = ad.read_h5ad(data_folder() / "cells" / f"{name}.h5ad")
    rows = np.random.default_rng(0).permutation(adata.n_obs)[:MOST_CELLS]
    return adata[np.sort(rows)].copy()


def columns_of(adata: ad.AnnData, vocabulary: gm.GeneVocabulary) -> tuple[np.ndarray, np.ndarray]:
    """Columns whose genes the vocabulary has, each gene once, and their tokens."""
    match = match_genes(adata.var, vocabulary, aliases=aliases())
    tokens, columns = np.unique(match.token_ids, return_index=True)
    return columns[tokens > 0], tokens[tokens > 0]


def relation(which: str, method: str) -> Callable[[Cells], np.ndarray]:
    """A score of the package."""

    def table(cells: Cells) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = gm.tl.gene_correlation(getattr(cells, which), cells.names, cells.adata, method=method, min_cells=1)
        return found.to_numpy()

    return table


def effect(cells: Cells) -> np.ndarray:
    """What deleting the first gene of a pair does to the predicted rank of the second."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asked = AskedCells(cells.adata, min_cells=1)
        found = relate_genes(cells.own, asked, "effect", directed=True)
    rows = np.searchsorted(found.genes, find_genes(cells.own, cells.names))
    return found.scores.block(rows)[:, rows]


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)


def pca(weighted: bool) -> Callable[[Cells], np.ndarray]:
    """Cosine of the loadings of 20 components, weighted by their standard deviations or not."""

    def table(cells: Cells) -> np.ndarray:
        fitted = PCA(COMPONENTS, random_state=0).fit(np.clip(cells.scaled, -CLIP, CLIP))
        loadings = unit(fitted.components_.T * (np.sqrt(fitted.explained_variance_) if weighted else 1.0))
        return loadings @ loadings.T

    return table


def random(cells: Cells) -> np.ndarray:
    vectors = unit(np.random.default_rng(0).normal(size=(len(cells.names), 64)))
    return vectors @ vectors.T


def pearson_of_all_sets(cells: Cells) -> np.ndarray:
    """Mean Pearson correlation over eight open sets where both genes vary: the cells of mini, without a model."""
    place = np.full(int(cells.tokens.max()) + 1, -1)
    place[cells.tokens] = np.arange(len(cells.tokens))
    total, n = np.zeros((2, len(cells.tokens), len(cells.tokens)), dtype=np.float32)
    for name in DISJOINT_SETS:
        adata = load_cells(name)
        columns, tokens = columns_of(adata, cells.mini.vocabulary)
        shared = np.isin(tokens, cells.tokens)
        x = log_cp10k(adata)[:, columns[shared]].toarray()
        varies = x.std(axis=0) > 0
        genes, x = place[tokens[shared][varies]], StandardScaler().fit_transform(x[:, varies])
        total[np.ix_(genes, genes)] += (x.T @ x) / len(x)
        n[np.ix_(genes, genes)] += 1
    return total / np.maximum(n, 1)


def forest(cells: Cells, regulators: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Importance of each regulator in a forest of random trees for each target, as GENIE3 has it; 0 elsewhere."""
    rows = np.random.default_rng(0).permutation(len(cells.scaled))[:FOREST_CELLS]
    table = np.zeros((len(cells.names), len(cells.names)), dtype=np.float32)
    for target in targets:
        inputs = regulators[regulators != target]
        trees = ExtraTreesRegressor(TREES, max_features="sqrt", min_samples_leaf=2, random_state=0)
        table[inputs, target] = trees.fit(
            cells.scaled[np.ix_(rows, inputs)], cells.scaled[rows, target]
        ).feature_importances_
    return table


BASELINES: dict[str, Callable[[Cells], np.ndarray]] = {
    "random": random,
    "pearson": relation("own", "pearson"),
    "spearman": relation("own", "spearman"),
    "pca_loadings": pca(weighted=False),
    "pca_weighted": pca(weighted=True),
    "pearson_8_sets": pearson_of_all_sets,
}
OURS = {
    f"{which}_{method}": relation(which, method)
    for which in ("own", "mini")
    for method in ("static", "contextual", "explained", "combined")
} | {"own_effect": effect}
