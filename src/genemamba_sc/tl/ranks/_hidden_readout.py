"""Read the rank of a gene from the embedding of the other genes of a cell, so that a moved embedding moves ranks."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from genemamba_sc.data import Tokens
from genemamba_sc.data.tokens._token_parts import real_positions, visible_part
from genemamba_sc.model import GeneMambaModule
from genemamba_sc.tl._cells import embedding_of, pass_through
from genemamba_sc.tl.ranks._masked_ranks import draw_folds
from genemamba_sc.tl.ranks._rank_metrics import correlation
from genemamba_sc.tl.ranks._rank_readout import Axes, RankReference, solve_ridge

# One part in so many of the genes of a cell is hidden at a time.
_FOLDS = 5
# A gene in fewer reference cells has no read-out: each half must hold five.
LEAST_CELLS = 10


@dataclass(frozen=True, eq=False)
class HiddenReadout:
    """Hold how the relative rank of each gene, 1 first to 0 last, changes with the embedding of the other genes.

    Parameters
    ----------
    axes
        The ``k`` leading axes of the embeddings.
    slopes
        Change of the rank for a step of one standard deviation along each axis, shape (v, k); 0 without a read-out.
    foretold
        Correlation of known and foretold ranks of each gene, in cells that its fit has not seen and while it is hidden,
        shape (v,), both centred in either half of the cells; NaN without a read-out. The mean rank, which is the same
        in all cells, has none, and noise has 0 on average.
    n_cells
        Number of reference cells.
    """

    axes: Axes
    slopes: Float[np.ndarray, "v k"]
    foretold: Float[np.ndarray, "v"]
    n_cells: int

    @classmethod
    def of(
        cls, module: GeneMambaModule, tokens: Tokens, vocab_size: int, genes: Int[np.ndarray, "m"], seed: int
    ) -> "HiddenReadout":
        """Fit the read-outs on reference cells.

        The genes of each cell are dealt into five parts, and the cell is embedded once without each part. A gene is
        fitted on the embeddings that were made without it, by a ridge regression on their 50 leading axes and the
        number of genes.

        Parameters
        ----------
        module
            The trained module.
        tokens
            Tokens of the reference cells.
        vocab_size
            Number of tokens, v.
        genes
            Token ids to fit; those of fewer than ten reference cells get no read-out.
        seed
            Seed of the parts and of the solver.
        """
        folds = draw_folds(tokens, _FOLDS, np.random.default_rng(seed))
        width = module.encoder_config.d_model
        parts = [pass_through(module, visible_part(tokens, folds != f), embedding_of, width) for f in range(_FOLDS)]
        n_genes = np.tile(tokens.lengths, _FOLDS)
        axes = Axes.of(np.concatenate(parts), n_genes, seed)
        places = axes(np.concatenate(parts), n_genes)
        design = np.concatenate([places, np.ones((len(places), 1))], axis=1).reshape(_FOLDS, len(parts[0]), -1)
        slopes, foretold = _fits(design, tokens, folds, vocab_size, genes)
        return cls(axes, slopes, foretold, len(tokens.lengths))

    def steps(self, shifts: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m k"]:
        """Turn shifts of embeddings into steps along the axes, in standard deviations of the reference cells.

        Parameters
        ----------
        shifts
            Shifts, shape (m, d).
        """
        return shifts @ self.axes.vectors / self.axes.scale[:-1]


def _fits(
    design: Float[np.ndarray, "f n k2"],
    tokens: Tokens,
    folds: Int[np.ndarray, "n l"],
    vocab_size: int,
    genes: Int[np.ndarray, "m"],
) -> tuple[np.ndarray, np.ndarray]:
    """Return slopes along the axes, and how well halves of the cells foretell each other."""
    known = RankReference.of(tokens, vocab_size)
    real = real_positions(tokens)
    hidden_in = sparse.csr_array((folds[real], known.ranks.indices, known.ranks.indptr), shape=known.ranks.shape)
    ranks, parts = known.ranks.tocsc(), hidden_in.tocsc()
    # The last two columns, number of genes and constant, are no axes.
    slopes, foretold = np.zeros((vocab_size, design.shape[2] - 2)), np.full(vocab_size, np.nan)
    for gene in genes[known.counts[genes] >= LEAST_CELLS]:
        part = slice(ranks.indptr[gene], ranks.indptr[gene + 1])
        x, y = design[parts.data[part], ranks.indices[part]], ranks.data[part] - known.mean[gene]
        slopes[gene] = solve_ridge(x, y)[:-2]
        foretold[gene] = _foretold(x, y)
    return slopes, foretold


def _foretold(x: Float[np.ndarray, "n k"], y: Float[np.ndarray, "n"]) -> float:
    """Return the correlation of ``y`` with what either half of the cells foretells of the other.

    Both are centred in each half: where one half lies above the mean of all cells, the other lies below it, and
    foretelling either by the mean of the other would make noise look foretold the wrong way round.
    """
    y, said, first = y.copy(), np.empty(len(y)), np.arange(len(y)) % 2 == 0
    for half in (first, ~first):
        y[half] -= y[half].mean()
    for half in (first, ~first):
        said[half] = x[half] @ solve_ridge(x[~half], y[~half])
        said[half] -= said[half].mean()
    return correlation(y, said)
