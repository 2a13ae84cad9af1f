"""What linear models and neighbours know of a set by the labels of others; nothing is chosen by labels of the set."""

import warnings
from dataclasses import dataclass

import anndata as ad
import numpy as np
import scipy.sparse as sp
from ontology import FINE, UNKNOWN, Pool, balanced, pooled
from sets import COLUMNS
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from genemamba_sc.benchmark import Options, accuracy, log_cp10k, logistic, method_of

KINDS = ("all", "shared", "wide")
STRENGTHS = (0.01, 0.1, 1.0, 10.0)
# Cells of each reference that choose; more would take minutes for each target.
MOST_CHOOSING = 800


@dataclass(frozen=True)
class Choice:
    """Which genes and references a regression reads (see `Pool.view`), and its C."""

    kind: str
    strength: float


def expression(cells: ad.AnnData, genes: list[str]) -> sp.csr_matrix:
    return log_cp10k(cells[:, genes].copy())


def fitted(view: Pool, strength: float, model: LogisticRegression | None = None) -> LogisticRegression:
    """An L2 regression on the fine types of a pool."""
    model = logistic(l1=False, seed=0) if model is None else model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.set_params(C=strength).fit(log_cp10k(view.cells), view.cells.obs[FINE].to_numpy())


def scores_of_choices(parts: dict[str, ad.AnnData], genes: list[str]) -> dict[Choice, float]:
    """Mean accuracy of every choice, each reference in turn annotated by the others, with the genes of the target."""
    parts = {name: part[balanced(part.obs[FINE].to_numpy(), MOST_CHOOSING, 0)].copy() for name, part in parts.items()}
    found: dict[Choice, list[float]] = {}
    for name, asked in parts.items():
        others = {other: part for other, part in parts.items() if other != name}
        pool = pooled(others, sorted(set(genes) & set(asked.var_names)))
        for kind in KINDS:
            view, model = pool.view(kind), logistic(l1=False, seed=0)
            for strength in STRENGTHS:
                model = fitted(view, strength, model)
                known = asked[asked.obs[FINE].isin(model.classes_).to_numpy()]
                predicted = model.predict(expression(known, list(view.cells.var_names)))
                score = accuracy(known.obs[FINE].to_numpy(), predicted)
                found.setdefault(Choice(kind, strength), []).append(score)
    return {choice: float(np.mean(values)) for choice, values in found.items()}


def best(scores: dict[Choice, float]) -> Choice:
    return max(scores, key=lambda choice: scores[choice])


def by_neighbours(view: Pool, query: ad.AnnData) -> np.ndarray:
    """Types of the nearest cells of the references on 50 principal components, as in `run.py`."""
    label, batch = COLUMNS
    train, test = view.cells.copy(), query[:, view.cells.var_names].copy()
    train.obs[label] = train.obs[FINE]
    for part in (train, test):
        part.obs[batch] = UNKNOWN
    return method_of("annotation", "knn").load()(train, test, 0, Options({}, {})).predicted
