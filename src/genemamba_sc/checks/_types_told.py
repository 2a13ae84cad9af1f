"""Ask how well embeddings tell cell types, beside random gene vectors and expression, on cells left out of the fit."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Integer
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold

Part = tuple[np.ndarray, np.ndarray]

_N_COMPONENTS = 50
_N_FOLDS = 5


@dataclass(frozen=True, eq=False)
class TypeComparison:
    """Tell how well cell types are read from weights, from random gene vectors and from expression.

    Parameters
    ----------
    n_cells, n_types
        Number of labelled cells, and of their types.
    split
        What is left out of each fit: ``"a batch"``, or ``"a fifth of the cells"`` where there is one batch.
    weights
        Macro-F1 of a balanced logistic regression on 50 principal components of the embedding, mean over what is left
        out.
    random
        The same of sums of random gene vectors of the same width, one value a draw, shape (n_draws,).
    expression
        The same of expression, log1p of counts per 10,000.
    """

    n_cells: int
    n_types: int
    split: str
    weights: float
    random: Float[np.ndarray, "n_draws"]
    expression: float

    @property
    def is_better(self) -> bool:
        """Whether the weights are above every draw of random gene vectors."""
        return bool(self.weights > self.random.max())

    def to_frame(self) -> pd.DataFrame:
        """Return the macro-F1 of each, and the standard deviation over draws."""
        rows = {
            "weights": (self.weights, np.nan),
            "random gene vectors": (float(self.random.mean()), float(self.random.std(ddof=1))),
            "expression": (self.expression, np.nan),
        }
        return pd.DataFrame.from_dict(rows, orient="index", columns=["macro_f1", "sd"])

    def __str__(self) -> str:
        reading = "Better than" if self.is_better else "NO BETTER THAN"
        return "\n".join([
            f"{self.n_types} types of {self.n_cells} cells, {self.split} left out of each fit, macro-F1:",
            f"  these weights        {self.weights:6.3f}",
            f"  random gene vectors  {self.random.mean():6.3f} ± {self.random.std(ddof=1):.3f} "
            f"({len(self.random)} draws, the best {self.random.max():.3f})",
            f"  expression           {self.expression:6.3f}",
            f"  {reading} random gene vectors.",
        ])  # fmt: skip


def compare_types(
    weights: Float[np.ndarray, "n d"],
    expression: sparse.csr_array,
    labels: np.ndarray,
    batches: np.ndarray | None,
    *,
    n_draws: int = 5,
    seed: int = 0,
) -> TypeComparison:
    """Read cell types from three kinds of features of the same cells, by the same method on the same splits.

    Parameters
    ----------
    weights
        Embeddings, shape (n, d).
    expression
        Expression by token, shape (n, v); the random gene vectors are summed with it.
    labels
        Types, shape (n,).
    batches
        Batches, shape (n,); one batch after the other is left out. ``None``, or a single batch, leaves out a fifth of
        the cells of each type.
    n_draws
        How many tables of random gene vectors are drawn.
    seed
        Seed of vectors, components and folds.

    Raises
    ------
    ValueError
        If there are fewer than two types, or none of them is in two parts.
    """
    codes = pd.factorize(labels, sort=True)[0].astype(np.int64)
    parts = list(_parts(codes, batches, seed))
    rng = np.random.default_rng(seed)
    tables = (rng.standard_normal((expression.shape[1], weights.shape[1])).astype(np.float32) for _ in range(n_draws))
    random = [_score(np.asarray(expression @ table), codes, parts, seed) for table in tables]
    return TypeComparison(
        n_cells=len(codes),
        n_types=int(codes.max()) + 1,
        split="a batch" if _has_batches(batches) else "a fifth of the cells",
        weights=_score(weights, codes, parts, seed),
        random=np.array(random),
        expression=_score(expression, codes, parts, seed),
    )


def _has_batches(batches: np.ndarray | None) -> bool:
    return batches is not None and len(pd.unique(batches)) > 1


def _parts(codes: Integer[np.ndarray, "n"], batches: np.ndarray | None, seed: int) -> Iterator[Part]:
    """Yield rows to fit on and rows to judge on; the latter are of types that the former have."""
    if len(np.unique(codes)) < 2:
        raise ValueError(
            "Types are told apart where there are two of them. Got one in these cells, or none. Compare more cells "
            "(n_compared=), or name another column."
        )
    n_parts = 0
    for fit, left in _left_out(batches) if _has_batches(batches) else _folds(codes, seed):
        left = left[np.isin(codes[left], codes[fit])]
        if len(left) and len(np.unique(codes[fit])) > 1:
            n_parts += 1
            yield fit, left
    if not n_parts:
        raise ValueError(
            "A type is judged in cells left out of the fit. Got no type with cells in two parts. "
            "Leave out batch_key=, compare more cells (n_compared=), or name another column."
        )


def _left_out(batches: np.ndarray | None) -> list[Part]:
    assert batches is not None  # asked only where there are some
    return [(np.flatnonzero(batches != name), np.flatnonzero(batches == name)) for name in pd.unique(batches)]


def _folds(codes: Integer[np.ndarray, "n"], seed: int) -> list[Part]:
    """Divide the cells of each type; a rare type is in fewer folds, and is judged there."""
    n_folds = min(_N_FOLDS, int(np.bincount(codes).max()))
    if n_folds < 2:
        return []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        return list(StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(codes, codes))


def _score(
    features: np.ndarray | sparse.csr_array, codes: Integer[np.ndarray, "n"], parts: list[Part], seed: int
) -> float:
    scores = []
    for fit, left in parts:
        n = min(_N_COMPONENTS, len(fit) - 1, features.shape[1] - 1)
        axes = PCA(n, svd_solver="arpack" if sparse.issparse(features) else "auto", random_state=seed)
        cells = axes.fit_transform(features[fit])
        # One scale for all components: each on a scale of its own would make as much of noise as of types.
        scale = max(float(cells[:, 0].std()), 1e-12)
        model = LogisticRegression(max_iter=500, class_weight="balanced")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(cells / scale, codes[fit])
        truth, predicted = codes[left], model.predict(axes.transform(features[left]) / scale)
        scores.append(float(f1_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0.0)))
    return float(np.mean(scores))
