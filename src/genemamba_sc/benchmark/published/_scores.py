"""Read the published figures, each with its source."""

from pathlib import Path

import pandas as pd

from genemamba_sc.benchmark.published._sets import published_set

_TABLE = Path(__file__).parent / "scores.tsv"


def published_scores(name: str | None = None) -> pd.DataFrame:
    """Return the published figures of a set, or of all sets.

    Parameters
    ----------
    name
        Name of the set; ``None`` gives all.

    Returns
    -------
    A table with the columns ``set``, ``task``, ``method``, ``metric``, ``value``, ``source`` and ``evidence``:
    ``"read"`` where the figure was seen in its source, ``"told"`` where a later paper re-prints it. Accuracy, macro-F1,
    avg_bio, avg_batch, BLEU and Spearman lie in [0, 1]; L-Dist counts edits of the tokens of 10 cells. Where two
    sources give different figures, both have a row.

    Raises
    ------
    ValueError
        If there is no such set.
    """
    scores = pd.read_csv(_TABLE, sep="\t", keep_default_na=False)
    if name is None:
        return scores
    return scores[scores["set"] == published_set(name).name].reset_index(drop=True)
