"""Read the cells that a checkpoint is compared on, and compare it with random gene vectors."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Int64

from genemamba_sc.checks._types_told import TypeComparison, compare_types
from genemamba_sc.data import GeneVocabulary, Tokens, query_source, take_tokens
from genemamba_sc.data.tokens._token_parts import first_tokens
from genemamba_sc.model._doubts import encode_tokens
from genemamba_sc.model._random_vectors import RandomComparison, compare_with_random
from genemamba_sc.nn import BiMambaEncoder
from genemamba_sc.training._markers import expression_matrix


@dataclass(frozen=True, eq=False)
class CellColumns:
    """Hold what ``obs`` says about cells: types and batches, shape (n,), or ``None`` where they were not named."""

    labels: pd.Series | None = None
    batches: pd.Series | None = None


def obs_of(cells: object, labels_key: str | None, batch_key: str | None) -> CellColumns:
    """Take the columns that were named.

    Raises
    ------
    ValueError
        If there is no such column, cells have no ``obs``, or batches were named without types.
    """
    named = {"labels_key": labels_key, "batch_key": batch_key}
    for argument, key in named.items():
        if key is None:
            continue
        if not isinstance(cells, AnnData):
            raise ValueError(f"{argument} names a column of cells.obs. Got no AnnData with obs. Pass the cells as one.")
        if key not in cells.obs:
            raise ValueError(
                f"{argument} must name a column of obs. Got {key!r}; the columns are {list(cells.obs)[:20]}. "
                "Name one of these."
            )
    if labels_key is None:
        if batch_key is not None:
            raise ValueError(
                f"Batches are left out where types are told. Got batch_key={batch_key!r} without labels_key. Pass both."
            )
        return CellColumns()
    assert isinstance(cells, AnnData)
    return CellColumns(cells.obs[labels_key], None if batch_key is None else cells.obs[batch_key].astype(str))


@dataclass(frozen=True, eq=False)
class TokenReader:
    """Read tokens of a random subset of cells, the same every time.

    Parameters
    ----------
    cells
        The cells, or their tokens.
    vocabulary
        The genes of the checkpoint.
    max_len
        Largest number of tokens per cell.
    seed
        Seed of the subset.
    """

    cells: AnnData | Tokens
    vocabulary: GeneVocabulary
    max_len: int
    seed: int

    def rows(self, n: int) -> Int64[np.ndarray, "_"]:
        """Draw at most ``n`` cells."""
        n_obs = len(self.cells.lengths) if isinstance(self.cells, Tokens) else self.cells.n_obs
        return np.sort(np.random.default_rng(self.seed).permutation(n_obs)[:n])

    def __call__(self, n: int) -> Tokens:
        """Return the tokens of these cells."""
        rows = self.rows(n)
        if isinstance(self.cells, AnnData):
            return query_source(self.cells, self.vocabulary, self.max_len, {}).tokens(rows)
        given = take_tokens(self.cells, rows)
        if given.ids.size and int(given.ids.max()) >= self.vocabulary.size:
            raise ValueError(
                f"Token ids must be those of the checkpoint's vocabulary, below {self.vocabulary.size}. Got "
                f"{int(given.ids.max())}. Make the tokens with its vocabulary, read_pretrained(...).vocabulary."
            )
        return first_tokens(given, self.max_len)


def compare(
    encoder: BiMambaEncoder, read: TokenReader, columns: CellColumns, n: int
) -> tuple[RandomComparison | None, TypeComparison | None]:
    """Compare an encoder with random gene vectors: without labels, and with those that were named.

    Parameters
    ----------
    encoder
        The encoder.
    read
        Reader of the cells.
    columns
        Types and batches of all cells.
    n
        Largest number of cells.
    """
    tokens, rows = read(n), read.rows(n)
    embed = partial(encode_tokens, encoder)
    random = compare_with_random(embed, tokens, read.vocabulary, seed=read.seed)
    if columns.labels is None:
        return random, None
    known = np.flatnonzero(columns.labels.notna().to_numpy()[rows])
    labels = columns.labels.astype(str).to_numpy()[rows][known]
    batches = None if columns.batches is None else columns.batches.to_numpy()[rows][known]
    part = take_tokens(tokens, known)
    expression = expression_matrix(part, read.vocabulary)
    return random, compare_types(embed(part), expression, labels, batches, seed=read.seed)
