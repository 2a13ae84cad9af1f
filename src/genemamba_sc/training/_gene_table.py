"""Compute the gene table that every training starts from: the spectral factorisation of the training cells."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, Integer
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from genemamba_sc.data.tokens._tokenizer import Tokens
from genemamba_sc.training._within_batches import within_batch_components

# Singular values below this share of the first one are rounding errors of float32.
_EMPTY = 1e-5
# Variances below this share of the mean square are rounding errors: the gene has one rank in all cells.
_CONSTANT = 1e-6
# The ridge of the regression between halves of cells, relative to unit mean squares; the genes that a half must have.
_RIDGE = 1e-3
_LEAST_GENES = 10
# Number of cells that a start reads: enough for 64 components. 2,048 tokens each take 0.3 GB, and a factorisation a
# minute.
_CELLS = 20_000
# Cells of which all that is computed on the way is in memory at once.
_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class GeneSample:
    """Hold a sample of the training cells, and what a training computes from it before its first step.

    Parameters
    ----------
    tokens
        Tokens of the sample.
    vocab_size
        Number of tokens.
    seed
        Seed of the solver and of the halves of cells.
    batches
        Batch of each cell of the sample, shape (n,), where the table is to hold what varies within batches.
    """

    tokens: Tokens
    vocab_size: int
    seed: int
    batches: Integer[np.ndarray, "n"] | None = None
    _tables: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(
        cls,
        read: Callable[[Integer[np.ndarray, "m"]], Tokens],
        cells: Integer[np.ndarray, "n"],
        vocab_size: int,
        seed: int,
        batches: Integer[np.ndarray, "n_obs"] | None = None,
    ) -> "GeneSample":
        """Read all training cells, or a fixed random subset where there are more than 20,000.

        Parameters
        ----------
        read
            Function that returns the tokens of cells.
        cells
            Numbers of the training cells.
        vocab_size, seed
            As in :class:`GeneSample`; the seed also draws the subset.
        batches
            Batch of every cell, for a table of what varies within batches; ``None`` for one of all that varies.
        """
        if len(cells) > _CELLS:
            cells = np.sort(np.random.default_rng(seed).choice(cells, _CELLS, replace=False))
        return cls(read(cells), vocab_size, seed, None if batches is None else batches[cells])

    def spectral(self, n_columns: int) -> Float32[np.ndarray, "v d"]:
        """Factorise the sample, once for each width; see :func:`spectral_gene_table`."""
        if n_columns not in self._tables:
            self._tables[n_columns] = spectral_gene_table(
                self.tokens, self.vocab_size, n_columns, seed=self.seed, batches=self.batches
            )
        return self._tables[n_columns]

    def leading(self, n_columns: int, width: int) -> Float32[np.ndarray, "v k"]:
        """Take the leading columns of :meth:`spectral`; reuse its factorisation where that is wide enough.

        Parameters
        ----------
        n_columns
            Number of columns.
        width
            Number of columns of the table that the model starts from; 0 where it starts from none.
        """
        return self.spectral(width)[:, :n_columns] if width >= n_columns else self.spectral(n_columns)

    def denoised(self, table: Float32[np.ndarray, "v d"]) -> Float32[np.ndarray, "v d"]:
        """Shrink a table; see :func:`denoised_gene_table`."""
        return denoised_gene_table(self.tokens, table, seed=self.seed)

    def occurrences(self, context_len: int | None = None) -> Float32[np.ndarray, "v"]:
        """Count how often each token is among the first ``context_len`` of a cell; pads count as their own token."""
        read = self.tokens.ids[:, :context_len]
        return np.bincount(read.ravel(), minlength=self.vocab_size).astype(np.float32)

    def known(self) -> Bool[np.ndarray, "v"]:
        """Tell which tokens some cell of the sample has."""
        real = np.arange(self.tokens.ids.shape[1])[None, :] < self.tokens.lengths[:, None]
        return np.bincount(self.tokens.ids[real], minlength=self.vocab_size) > 0


def spectral_gene_table(
    tokens: Tokens,
    vocab_size: int,
    d_model: int,
    *,
    seed: int = 0,
    batches: Integer[np.ndarray, "n"] | None = None,
) -> Float32[np.ndarray, "vocab_size d_model"]:
    """Compute gene embeddings from a truncated SVD of a cells × genes matrix of token weights.

    Weights are ``1 / log2(2 + rank / 16)``; columns are scaled by ``sd^-0.5``, which lifts rare genes; the first
    component, which follows the depth of the cell, is dropped. Rows that tell no cells apart (special tokens, genes
    that never occur or have the same rank in all cells) stay zero.

    Parameters
    ----------
    tokens
        Tokens of the training cells.
    vocab_size
        Number of rows of the table.
    d_model
        Number of columns of the table; components that the data cannot fill stay zero.
    seed
        Seed of the randomised solver.
    batches
        Batch of each cell, shape (n,): what varies within batches is then factorised, see
        :func:`genemamba_sc.training._within_batches.within_batch_components`, and no component is dropped.

    Returns
    -------
    Table of shape (vocab_size, d_model), float32, with entries scaled to unit root mean square over the rows in use.
    """
    weights = _weight_matrix(tokens, vocab_size)
    table = np.zeros((vocab_size, d_model), dtype=np.float32)
    if min(weights.shape) < 2 or d_model < 1:
        return table
    if batches is None:
        kept = _components(weights, d_model, seed)
    else:
        kept = within_batch_components(weights, batches, d_model, seed)
    n_used = np.count_nonzero(kept.any(axis=1))
    spread = np.sqrt((kept**2).sum() / max(1, n_used * kept.shape[1]))
    table[:, : kept.shape[1]] = kept / max(float(spread), 1e-12)
    return table


def _components(weights: sparse.csr_array, d_model: int, seed: int) -> np.ndarray:
    """Compute how each gene weighs in each component but the first, scaled back by the weights."""
    scale = _column_scale(weights)
    _, singular, components = randomized_svd(
        weights @ sparse.diags_array(scale), min(d_model + 1, *weights.shape), n_iter=4, random_state=seed
    )
    # Beyond the rank of the data, the solver returns arbitrary directions.
    components[singular <= _EMPTY * singular[0]] = 0.0
    return (components[1:] * scale).T


def _weight_matrix(tokens: Tokens, vocab_size: int) -> sparse.csr_array:
    n_cells, width = tokens.ids.shape
    real = np.arange(width)[None, :] < tokens.lengths[:, None]
    weight_of_rank = (1.0 / np.log2(2.0 + np.arange(width) / 16.0)).astype(np.float32)
    data = np.broadcast_to(weight_of_rank, (n_cells, width))[real]
    starts = np.concatenate([[0], np.cumsum(tokens.lengths)])
    return sparse.csr_array((data, tokens.ids[real], starts), shape=(n_cells, vocab_size))


def _column_scale(weights: sparse.csr_array) -> Float[np.ndarray, "v"]:
    n_cells, n_tokens = weights.shape
    # The sums are in float64; those of a float32 matrix in scipy are not.
    mean = np.bincount(weights.indices, weights.data, n_tokens) / max(1, n_cells)
    square = np.bincount(weights.indices, weights.data**2, n_tokens) / max(1, n_cells)
    variance = square - mean**2
    varies = variance > _CONSTANT * square
    return np.where(varies, np.where(varies, variance, 1.0) ** -0.25, 0.0).astype(weights.dtype)


def denoised_gene_table(
    tokens: Tokens, table: Float32[np.ndarray, "vocab_size d_model"], *, seed: int = 0
) -> Float32[np.ndarray, "vocab_size d_model"]:
    """Shrink a gene table to what one half of a cell's genes tells about the other half.

    Each cell is cut into two random halves, both are pooled with the table, and the ridge regression of one half on the
    other gives a map of (d_model, d_model). Noise is independent between the halves, so the regression estimates what
    they have in common (Noise2Noise, Lehtinen et al., arXiv 1803.04189), and directions of noise shrink. Pooling is
    linear, so the map is applied to the table.

    Parameters
    ----------
    tokens
        Tokens of the training cells.
    table
        The table, shape (vocab_size, d_model).
    seed
        Seed of the halves.

    Returns
    -------
    Table of the same shape, float32, scaled to the root mean square of ``table``. It is a copy of ``table`` where fewer
    cells than it has columns have ten genes in both halves.
    """
    first, second = _pooled_halves(tokens, table, np.random.default_rng(seed))
    if len(first) < table.shape[1]:
        return table.copy()
    x, y = np.concatenate([first, second]), np.concatenate([second, first])
    penalty = _RIDGE * max(1, len(x)) * np.eye(table.shape[1])
    shrunk = table @ np.linalg.solve(x.T @ x + penalty, x.T @ y)
    spread = np.sqrt((shrunk**2).sum()) / max(float(np.sqrt((table**2).sum())), 1e-12)
    return (shrunk / max(float(spread), 1e-12)).astype(np.float32)


def _pooled_halves(
    tokens: Tokens, table: np.ndarray, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n d"]]:
    """Pool the table over two halves of each cell, at unit root mean square; keep cells that have both halves."""
    starts = range(0, len(tokens.lengths), _BLOCK)
    parts = [_pooled_block(_rows(tokens, slice(start, start + _BLOCK)), table, rng) for start in starts]
    halves = [np.concatenate(half) for half in zip(*(part[:2] for part in parts))]
    both = np.concatenate([part[2] for part in parts]) >= _LEAST_GENES
    return tuple(  # type: ignore[return-value]
        half[both] / np.maximum(np.sqrt((half[both] ** 2).mean(axis=1, keepdims=True)), 1e-12) for half in halves
    )


def _rows(tokens: Tokens, rows: slice) -> Tokens:
    return Tokens(tokens.ids[rows], tokens.values[rows], tokens.lengths[rows])


def _pooled_block(
    tokens: Tokens, table: np.ndarray, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "b d"], Float[np.ndarray, "b d"], Integer[np.ndarray, "b"]]:
    """Pool the table over two halves of a few cells, and count the genes of the smaller half."""
    real = np.arange(tokens.ids.shape[1])[None, :] < tokens.lengths[:, None]
    cells, ids = np.nonzero(real)[0], tokens.ids[real]
    weight = np.log1p(tokens.values[real].astype(np.float64))
    left = rng.random(len(ids)) < 0.5
    pools, counts = [], []
    for half in (left, ~left):
        shape = (len(tokens.lengths), len(table))
        pools.append(sparse.csr_array((weight[half], (cells[half], ids[half])), shape=shape) @ table)
        counts.append(np.bincount(cells[half], minlength=shape[0]))
    return pools[0], pools[1], np.minimum(*counts)


def common_rank_tokens(ids: Int32[np.ndarray, "b l"], lengths: Int32[np.ndarray, "b"]) -> Int32[np.ndarray, "l"]:
    """Find the most frequent token at each rank over cells; of equally frequent ones the smallest id.

    Parameters
    ----------
    ids, lengths
        Tokens and lengths of a sample of cells.
    """
    n_cells, width = ids.shape
    real = np.arange(width)[None, :] < lengths[:, None]
    best = np.zeros(width, dtype=np.int32)
    for rank in range(width):
        seen = ids[real[:, rank], rank]
        best[rank] = np.bincount(seen).argmax() if len(seen) else 0
    return best
