"""Score what one gene does to another: the cosine of what it moves and what the other is read from."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Float32, Integer

from genemamba_sc.tl.relations._relatedness import Cosines, Moments


@dataclass(frozen=True, eq=False)
class DirectedCosines:
    """Score pairs of a gene that acts and one that is acted on; the other way round is another score.

    Parameters
    ----------
    acts, answers
        Vectors of length 1 of the genes as the first and as the second of a pair.
    """

    acts: Cosines
    answers: Cosines
    bounded: ClassVar[bool] = True
    directed: ClassVar[bool] = True

    @classmethod
    def of(cls, acts: Float[np.ndarray, "n k"], answers: Float[np.ndarray, "n k"]) -> "DirectedCosines":
        """Bring vectors, shape (n, k), to length 1; NaN and zeros become zeros."""
        return cls(Cosines.of(acts), Cosines.of(answers))

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return self.acts.n_genes

    def block(self, rows: Integer[np.ndarray, "b"]) -> Float32[np.ndarray, "b n"]:
        """Score some genes that act with all genes, shape (b, n)."""
        return self.acts.unit[rows] @ self.answers.unit.T

    def pairs(self, first: Integer[np.ndarray, "m"], second: Integer[np.ndarray, "m"]) -> Float32[np.ndarray, "m"]:
        """Score pairs of genes, shape (m,)."""
        return np.einsum("mk,mk->m", self.acts.unit[first], self.answers.unit[second])

    def moments(self) -> Moments:
        """Return mean and spread of each gene's scores as the one that acts."""
        scores = [self.block(np.array([row]))[0].astype(np.float64) for row in range(self.n_genes)]
        return Moments(np.array([s.mean() for s in scores]), np.array([s.std() for s in scores]))
