"""Report which cells are both in a query and in a pretraining corpus."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Integer

# If every second gene is missing, hardly a cell of the corpus is found again (benchmarks/pretraining/contamination.py).
_FEW_GENES = 0.5


@dataclass(frozen=True, eq=False)
class ContaminationReport:
    """Report which cells of a query were in a pretraining corpus.

    Parameters
    ----------
    origin
        Name of the weights.
    n_corpus
        Number of cells of the corpus.
    exact
        True for cells with the same tokens in the same order as a cell of the corpus, shape ``(n_cells,)``.
    near
        True for cells that share the hash of their highest tokens with a cell of the corpus, shape ``(n_cells,)``; all
        of ``exact`` are among them.
    empty
        True for cells without a gene of the vocabulary, shape ``(n_cells,)``: nothing can be said about them.
    chance
        Probability that a cell that was *not* in the corpus is ``near``: the share of the cells of the corpus whose
        hash another cell of it has, with other tokens. Cells of one study are more alike, so the estimate is rather too
        high.
    source
        Number in ``sources`` of the first set that has the cell, shape ``(n_cells,)``; -1 where none has it or the
        sets are not known.
    sources
        Names of the sets or files of the corpus; empty where they are not known.
    trained_further
        Whether the model was trained on other cells since. The report says nothing about those.
    n_genes, n_genes_known
        Number of genes of the weights, and how many of them the query has; 0 where that is not known.
    """

    origin: str
    n_corpus: int
    exact: Bool[np.ndarray, "n_cells"]
    near: Bool[np.ndarray, "n_cells"]
    empty: Bool[np.ndarray, "n_cells"]
    chance: float
    source: Integer[np.ndarray, "n_cells"]
    sources: tuple[str, ...] = ()
    trained_further: bool = False
    n_genes: int = 0
    n_genes_known: int = 0

    @property
    def n_cells(self) -> int:
        """Cells of the query."""
        return len(self.exact)

    @property
    def exact_share(self) -> float:
        """Share of the cells that were in the corpus with the same tokens; 0 for a query without cells."""
        return _share(self.exact)

    @property
    def near_share(self) -> float:
        """Share of the cells whose near hash is in the corpus; 0 for a query without cells."""
        return _share(self.near)

    @property
    def expected_near(self) -> float:
        """Number of cells that would be ``near`` by chance if none had been in the corpus; it is rather too high."""
        return self.chance * (self.n_cells - int(self.empty.sum()))

    @property
    def sets(self) -> dict[str, int]:
        """Number of the cells found in each set, for the sets with any."""
        counts = np.bincount(self.source[self.source >= 0], minlength=len(self.sources))
        return {name: int(count) for name, count in zip(self.sources, counts) if count}

    def to_frame(self, obs_names: pd.Index) -> pd.DataFrame:
        """Return a table with a row per cell: ``exact``, ``near`` and ``source``, the set in which it was found.

        Parameters
        ----------
        obs_names
            Names of the cells, in the order of the query.

        Raises
        ------
        ValueError
            If there are more or fewer names than cells.
        """
        if len(obs_names) != self.n_cells:
            raise ValueError(
                f"The report is of {self.n_cells} cells. Got {len(obs_names)} names. "
                "Pass the obs_names of the AnnData that was checked."
            )
        names = np.array([*self.sources, None], dtype=object)  # -1 is the last
        # The values are objects: pandas 3 would infer text, and turn None into NaN.
        source = pd.Series(names[self.source], index=obs_names, dtype=object)
        return pd.DataFrame({"exact": self.exact, "near": self.near, "source": source}, index=obs_names)

    def __str__(self) -> str:
        lines = [
            f"{self.n_cells:,} cells against the {self.n_corpus:,} on which {self.origin} was pretrained",
            f"  the same tokens      {int(self.exact.sum()):>9,}  {self.exact_share:7.2%}",
            f"  the same near hash   {int(self.near.sum()):>9,}  {self.near_share:7.2%}  "
            f"(by chance: at most about {_about(self.expected_near)})",
        ]
        lines += [f"    in {name}: {count:,}" for name, count in self.sets.items()]
        if self.empty.any():
            lines.append(f"  without a known gene {int(self.empty.sum()):>9,}  nothing can be said of them")
        lines.append(
            "A cell that is not found may still have been there: other counts, a correction or missing genes change "
            "its tokens. The near hash forgives missing genes that few cells express, and misses nearly every cell "
            "where half of the others are gone. Check cells with all their genes, before any selection."
        )
        if self.n_genes:
            lines.append(f"The query has {self.n_genes_known:,} of the {self.n_genes:,} genes of these weights.")
        if self.n_genes_known < self.n_genes * _FEW_GENES:
            lines.append("These are few: a cell that was in the corpus with more genes would hardly be found.")
        if self.trained_further:
            lines.append("The model was trained on other cells since; those are not looked for.")
        return "\n".join(lines)


def _about(count: float) -> str:
    """Write a small number with two digits, and a large one rounded."""
    return f"{count:,.0f}" if count >= 10 else f"{count:.2g}"


def _share(mask: np.ndarray) -> float:
    return float(mask.mean()) if len(mask) else 0.0
