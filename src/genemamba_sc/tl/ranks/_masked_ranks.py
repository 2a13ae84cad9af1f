"""Predict the rank of every gene of a cell while the gene is hidden: the leak-free protocol."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor

from genemamba_sc.data import GeneVocabulary, TokenBatch, Tokens
from genemamba_sc.data.tokens._token_parts import real_positions, visible_part
from genemamba_sc.model import GeneMambaModule
from genemamba_sc.tl._cells import embedding_of, pass_through
from genemamba_sc.tl.ranks._rank_readout import Axes, RankReference, fit_readout
from genemamba_sc.training._markers import expression_matrix

Predictions = Float[np.ndarray, "b l"]
# Predictions of one cell: its number, and the token ids to predict.
OfCell = Callable[[int, Int[np.ndarray, "m"]], np.ndarray]


class MaskedRanks:
    """Predict ranks of hidden genes by several methods, all of which see the same visible genes.

    Parameters
    ----------
    module
        The trained module.
    vocabulary
        Its genes.
    reference
        Tokens of the cells that means, neighbours and read-outs come from.
    genes
        Token ids that are to be predicted, for which read-outs are fitted.
    n_folds
        One part in ``n_folds`` of the genes of a cell is hidden at a time, in the reference too.
    seed
        Seed of the hidden genes and of the solvers.
    """

    def __init__(
        self, module: GeneMambaModule, vocabulary: GeneVocabulary, reference: Tokens, genes: Int[np.ndarray, "m"],
        n_folds: int, seed: int,
    ) -> None:  # fmt: skip
        self.module, self.vocabulary, self.n_folds = module, vocabulary, n_folds
        self.known = RankReference.of(reference, vocabulary.size)
        folds = draw_folds(reference, n_folds, np.random.default_rng(seed))
        visible = visible_part(reference, folds != 0)
        features, n_genes = self._features(visible), reference.lengths
        self.axes = {name: Axes.of(x, n_genes, seed) for name, x in features.items()}
        self.places = {name: self.axes[name](x, n_genes) for name, x in features.items()}
        self.fits = {name: fit_readout(places, self.known, genes) for name, places in self.places.items()}

    def __call__(self, tokens: Tokens, rng: np.random.Generator) -> dict[str, Predictions]:
        """Predict every gene of other cells, each while it is hidden.

        Parameters
        ----------
        tokens
            Tokens of the cells, with at least two genes each.
        rng
            Draws which genes are hidden together.
        """
        folds = draw_folds(tokens, self.n_folds, rng)
        found: dict[str, Predictions] = {}
        for fold in range(self.n_folds):
            hidden = (folds == fold) & real_positions(tokens)
            for name, predict in self._methods(visible_part(tokens, ~hidden), tokens.lengths).items():
                target = found.setdefault(name, np.zeros(tokens.ids.shape))
                for cell, columns in enumerate(hidden):
                    target[cell, columns] = predict(cell, tokens.ids[cell, columns])
        return found

    def _methods(self, visible: Tokens, n_genes: np.ndarray) -> dict[str, OfCell]:
        """Return what each method predicts from the visible genes."""
        at = {name: self.axes[name](x, n_genes) for name, x in self._features(visible).items()}
        nearest = self.axes["components"].nearest(at["components"], self.places["components"])
        queries = pass_through(self.module, visible, first_place_query, self.module.encoder_config.d_model)
        weight = self.module.encoder.embeddings.weight.detach().float().cpu().numpy()
        bias = self.module.gene_head.bias.detach().float().cpu().numpy()
        return {
            "embedding": lambda cell, genes: self._read(at, "embedding", cell, genes),
            "masked head": lambda cell, genes: weight[genes] @ queries[cell] + bias[genes],
            "components": lambda cell, genes: self._read(at, "components", cell, genes),
            "neighbours": lambda cell, genes: self.known.imputed(nearest[cell], genes),
            "mean rank": lambda cell, genes: self.known.mean[genes],
            "frequency": lambda cell, genes: self.known.counts[genes],
        }

    def _read(self, at: dict[str, np.ndarray], name: str, cell: int, genes: np.ndarray) -> np.ndarray:
        fit = self.fits[name][genes]
        return self.known.mean[genes] + fit[:, :-1] @ at[name][cell] + fit[:, -1]

    def _features(self, visible: Tokens) -> dict[str, np.ndarray | sparse.csr_array]:
        """Return what the two read-outs read: the embedding, and the levels of expression."""
        embedding = pass_through(self.module, visible, embedding_of, self.module.encoder_config.d_model)
        return {"embedding": embedding, "components": expression_matrix(visible, self.vocabulary)}


def draw_folds(tokens: Tokens, n_folds: int, rng: np.random.Generator) -> Int[np.ndarray, "b l"]:
    """Draw a fold for each token; the folds of a cell differ by one gene at most. Pads get folds, too.

    Parameters
    ----------
    tokens
        Tokens of the cells.
    n_folds
        Number of folds.
    rng
        Source of the draws.
    """
    # Pads come last, so that the genes of a cell are dealt out evenly among themselves.
    drawn = np.where(real_positions(tokens), rng.random(tokens.ids.shape), 2.0)
    return drawn.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable") % n_folds


def first_place_query(module: GeneMambaModule, batch: TokenBatch) -> Tensor:
    """Ask the masked-gene head which gene stands behind a [MASK] put before all visible genes, (b, d).

    The [MASK] has the value of the first visible gene and is left out of the pool, as in training.

    Parameters
    ----------
    module
        The module.
    batch
        Visible tokens.
    """
    ids, values = batch["token_ids"], batch["token_values"]
    ids = torch.cat([torch.full_like(ids[:, :1], module.mask_id), ids], dim=1)
    values = torch.cat([values[:, :1], values], dim=1)
    visible = torch.ones_like(ids, dtype=torch.bool)
    visible[:, 0] = False
    read = module.encoder(ids, values, batch["lengths"] + 1, visible=visible)
    return module.gene_head.query(read.hidden[:, 0], read.context)
