"""The cells of one AnnData as tokens, whatever the matrix is and wherever it lies."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int32, Integer

from genemamba_sc.data._cells import CellReader
from genemamba_sc.data._expression import Expression, to_linear
from genemamba_sc.data._tokenizer import RankTokenizer, Tokens


@dataclass(frozen=True)
class CellSource:
    """Tokens on demand.

    Parameters
    ----------
    reader
        The matrix, ``n_obs`` × ``n_vars``.
    columns
        Token id of every column, shape ``(n_vars,)``; ``UNK_ID`` where the vocabulary lacks the gene.
    expression
        What the matrix holds, so that it can be brought back to a linear scale.
    tokenizer
        The one definition of rank tokens.
    """

    reader: CellReader
    columns: Int32[np.ndarray, "n_vars"]
    expression: Expression
    tokenizer: RankTokenizer

    @property
    def n_obs(self) -> int:
        """Number of cells."""
        return self.reader.n_obs

    def tokens(self, indices: Integer[np.ndarray, "b"]) -> Tokens:
        """Tokens of the cells ``indices``, in that order.

        Parameters
        ----------
        indices
            Row numbers, shape ``(b,)``; any order, repeats allowed.
        """
        # The tokenizer adds repeated entries itself; only logarithms must not be undone before they are added.
        cells = self.reader.read(indices, canonical=self.expression.kind == "log1p")
        return self.tokenizer(to_linear(cells, self.expression), self.columns)

    def on_one_thread(self) -> "CellSource":
        """Give the same source with a tokenizer that starts no threads, for where threads or workers run already."""
        one = RankTokenizer(self.tokenizer.vocabulary, self.tokenizer.max_len, n_threads=1)
        return replace(self, tokenizer=one)
