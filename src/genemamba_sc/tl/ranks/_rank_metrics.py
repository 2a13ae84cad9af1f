"""Compare lists of ranked genes: the four numbers of the published reconstruction, and correlations cell by cell."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.stats import rankdata

GeneList = Int[np.ndarray, "_"]

_LONGEST_GRAM = 4


class ListScores(NamedTuple):
    """Edit distance and BLEU-4 of the joined lists, and correlations of the relative ranks over all genes and cells."""

    l_dist: int
    bleu: float
    spearman: float
    pearson: float


def compare_lists(truth: Sequence[GeneList], predicted: Sequence[GeneList]) -> ListScores:
    """Compare lists of the same cells as the published evaluation does.

    Edit distance and BLEU-4 (Papineni et al., ACL 2002) are those of all lists joined to one. For the correlations,
    ranks fall from 1 (first) to 0 (last) in each list; a gene that only one of two lists has gets 0 in the other.

    Parameters
    ----------
    truth, predicted
        Genes of each cell in order, one array for each cell.
    """
    joined, other = np.concatenate(truth), np.concatenate(predicted)
    left, right = _ranked(truth, "truth"), _ranked(predicted, "predicted")
    both = left.merge(right, on=["cell", "gene"], how="outer").fillna({"truth": 0.0, "predicted": 0.0})
    x, y = both["truth"].to_numpy(), both["predicted"].to_numpy()
    return ListScores(edit_distance(joined, other), bleu(joined, other), correlation(rankdata(x), rankdata(y)),
                      correlation(x, y))  # fmt: skip


def relative_ranks(n: int) -> Float[np.ndarray, "n"]:
    """Return what falls evenly from 1 at the first of ``n`` places to 0 at the last; 1 for a single place."""
    return 1 - np.arange(n) / max(n - 1, 1)


def correlation(x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"]) -> float:
    """Compute Pearson's correlation; NaN where either does not vary.

    Parameters
    ----------
    x, y
        Values of the same things, shape (n,).
    """
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size > 0 else float("nan")


def edit_distance(a: GeneList, b: GeneList) -> int:
    """Count the insertions, deletions and replacements that turn one list into the other (Levenshtein 1966).

    Parameters
    ----------
    a, b
        The lists.
    """
    places = np.arange(len(b) + 1)
    row = places
    for i, gene in enumerate(a, start=1):
        best = np.empty_like(row)
        best[0] = i
        np.minimum(row[:-1] + (b != gene), row[1:] + 1, out=best[1:])
        # An insertion costs 1 per place, so the best of all earlier places is a running minimum.
        row = np.minimum.accumulate(best - places) + places
    return int(row[-1])


def bleu(truth: GeneList, predicted: GeneList) -> float:
    """Compute BLEU-4: the geometric mean of the clipped precisions of 1 to 4 genes in a row, times a brevity penalty.

    Parameters
    ----------
    truth, predicted
        The lists; the result is 0 where any of the four precisions is.
    """
    precisions = [_precision(truth, predicted, n) for n in range(1, _LONGEST_GRAM + 1)]
    if min(precisions) == 0:
        return 0.0
    brevity = min(0.0, 1 - len(truth) / len(predicted))
    return float(np.exp(np.mean(np.log(precisions)) + brevity))


def _precision(truth: GeneList, predicted: GeneList, n: int) -> float:
    known, said = _grams(truth, n), _grams(predicted, n)
    total = sum(said.values())
    return sum(min(count, known[gram]) for gram, count in said.items()) / total if total else 0.0


def _grams(genes: GeneList, n: int) -> Counter[tuple[int, ...]]:
    names = genes.tolist()
    return Counter(zip(*(names[start:] for start in range(n))))


def _ranked(lists: Sequence[GeneList], name: str) -> pd.DataFrame:
    cells = np.repeat(np.arange(len(lists)), [len(genes) for genes in lists])
    ranks = np.concatenate([relative_ranks(len(genes)) for genes in lists])
    return pd.DataFrame({"cell": cells, "gene": np.concatenate(lists), name: ranks})
