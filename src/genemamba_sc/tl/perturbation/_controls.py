"""Find genes that are expressed like a gene, and what is unusual beside them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from genemamba_sc._constants import FIRST_GENE_ID
from genemamba_sc.data import GeneVocabulary, Tokens
from genemamba_sc.training._markers import expression_matrix

# Effects are computed in float32: those that differ by less, relatively, are equal.
_ALIKE = 1e-5
# Sums depend on the order of the cells in their last digits, by which no gene is nearer than another.
_LEVEL_DIGITS = 9


@dataclass(frozen=True, eq=False)
class Expression:
    """Hold how genes are expressed in each of ``q`` groups of cells.

    Parameters
    ----------
    counts
        Number of cells of the group that have the gene, shape (q, v).
    levels
        Sum over these cells of ``log1p`` of its counts per 10,000, shape (q, v).
    n_cells
        Number of cells of each group, shape (q,).
    """

    counts: Float[np.ndarray, "q v"]
    levels: Float[np.ndarray, "q v"]
    n_cells: Int[np.ndarray, "q"]

    @classmethod
    def empty(cls, n_groups: int, vocab_size: int) -> "Expression":
        """Start with no cell."""
        shape = (n_groups, vocab_size)
        return cls(np.zeros(shape), np.zeros(shape), np.zeros(n_groups, np.int64))

    def add(self, tokens: Tokens, groups: Int[np.ndarray, "b"], vocabulary: GeneVocabulary) -> None:
        """Add the cells of a block.

        Parameters
        ----------
        tokens, groups
            Tokens of the cells, and the number of the group of each.
        vocabulary
            The genes of the model.
        """
        levels = expression_matrix(tokens, vocabulary)
        for group in np.unique(groups):
            part = levels[np.flatnonzero(groups == group)]
            self.levels[group] += np.bincount(part.indices, weights=part.data, minlength=vocabulary.size)
            self.counts[group] += np.bincount(part.indices, minlength=vocabulary.size)
            self.n_cells[group] += part.shape[0]

    def matched(self, genes: Int[np.ndarray, "m"], n: int) -> Int[np.ndarray, "m q n"]:
        """Find the ``n`` genes most like each gene in each group: by the share of cells that have it, and by its level.

        Both are compared in units of their standard deviation over the genes of the group. Genes of the list are no
        controls of each other where the group has at least ``n`` others.

        Parameters
        ----------
        genes
            Token ids.
        n
            Number of controls of a gene.

        Returns
        -------
        Token ids, nearest first; -1 where there are none: the group lacks the gene, or has not so many.
        """
        found = np.full((len(genes), len(self.counts), n), -1)
        for group in range(len(self.counts)):
            found[:, group] = self._matched_in(group, genes, n)
        return found

    def matched_sets(self, genes: Int[np.ndarray, "g"], n: int) -> Int[np.ndarray, "m g"]:
        """Draw sets of controls in the first group: one for each gene, near it, and none twice in a set.

        The first set takes the nearest gene of each, the next one begins at the second nearest, and so on.

        Parameters
        ----------
        genes
            Token ids. They are no controls themselves.
        n
            Number of sets.

        Returns
        -------
        Token ids; fewer than ``n`` sets where there are not so many as long as ``genes``.
        """
        if not len(genes):
            return np.empty((0, 0), dtype=np.int64)
        known = np.flatnonzero(self.counts[0])
        n_others = len(np.setdiff1d(known[known >= FIRST_GENE_ID], genes))
        # Each of the others may be taken by another gene of the set.
        nearest = self.matched(genes, min(n + len(genes) - 1, n_others))[:, 0]
        sets = [_one_of_each(nearest[:, first:]) for first in range(n)]
        return np.array([drawn for drawn in sets if drawn is not None], dtype=np.int64).reshape(-1, len(genes))

    def _matched_in(self, group: int, genes: np.ndarray, n: int) -> np.ndarray:
        found = np.full((len(genes), n), -1)
        known = np.flatnonzero(self.counts[group])
        known = known[known >= FIRST_GENE_ID]
        others = np.setdiff1d(known, genes)
        candidates = others if len(others) >= n else known
        present = np.flatnonzero(self.counts[group, genes])
        if not len(candidates) or not len(present) or not n:
            return found
        places = self._places(group)
        # One more is asked for: a candidate may be the gene itself.
        asked = min(n + 1, len(candidates))
        nearest = cKDTree(places[candidates]).query(places[genes[present]], asked)[1].reshape(len(present), asked)
        for row, columns in zip(present, candidates[nearest]):
            controls = columns[columns != genes[row]][:n]
            found[row, : len(controls)] = controls
        return found

    def _places(self, group: int) -> Float[np.ndarray, "v 2"]:
        counts = self.counts[group]
        levels = (self.levels[group] / np.maximum(counts, 1)).round(_LEVEL_DIGITS)
        places = np.stack([np.log1p(counts), levels], axis=1)
        spread = places[counts > 0].std(axis=0)
        return places / np.where(spread > 0, spread, 1.0)


def _one_of_each(candidates: Int[np.ndarray, "g k"]) -> list[int] | None:
    """Take the first free candidate of each gene; none where a gene has no free one."""
    taken: dict[int, None] = {}
    for row in candidates.tolist():
        free = next((gene for gene in row if gene >= 0 and gene not in taken), None)
        if free is None:
            return None
        taken[free] = None
    return list(taken)


def permutation_p(observed: Float[np.ndarray, "*s"], controls: Float[np.ndarray, "*s n"]) -> Float[np.ndarray, "*s"]:
    """Return how often a gene drawn among a gene and its controls shows at least its effect: (1 + more) / (1 + n).

    If the gene were like its controls, each of them would be the strongest equally often.

    Parameters
    ----------
    observed
        Size of the effect of the gene.
    controls
        Those of its controls; NaN where there is none. Without any control the result is NaN.
    """
    known = ~np.isnan(controls)
    n = known.sum(axis=-1)
    own = observed[..., None]
    more = (known & ((controls > own) | np.isclose(controls, own, rtol=_ALIKE, atol=0.0))).sum(axis=-1)
    return np.where((n > 0) & ~np.isnan(observed), (1 + more) / (1 + n), np.nan)


def share_above(observed: Float[np.ndarray, "*s"], controls: Float[np.ndarray, "*s n"]) -> Float[np.ndarray, "*s"]:
    """Return the share of the controls that are larger than the observed value; equal ones count half.

    Parameters
    ----------
    observed
        Effect of the gene.
    controls
        Those of its controls; NaN where there is none. Without any control the result is NaN.
    """
    known = ~np.isnan(controls)
    own = observed[..., None]
    alike = known & np.isclose(controls, own, rtol=_ALIKE, atol=0.0)
    above = (known & ~alike & (controls > own)).sum(axis=-1) + 0.5 * alike.sum(axis=-1)
    n = known.sum(axis=-1)
    return np.where((n > 0) & ~np.isnan(observed), above / np.maximum(n, 1), np.nan)
