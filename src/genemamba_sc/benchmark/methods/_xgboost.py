"""Train boosted trees on variable genes; it needs xgboost."""

import numpy as np
import xgboost
from anndata import AnnData

from genemamba_sc.benchmark._columns import LABEL, column
from genemamba_sc.benchmark.methods._features import log_cp10k, variable_genes
from genemamba_sc.benchmark.methods._linear import best_of, folds
from genemamba_sc.benchmark.methods._outcome import Options, Outcome, clock
from genemamba_sc.benchmark.scores._metrics import macro_f1

# Trees of each type among which the folds choose.
ROUNDS = (25, 50, 100, 200)


def xgboost_labels(train: AnnData, test: AnnData, seed: int, options: Options) -> Outcome:
    """Annotate with XGBoost on log values of 2,000 variable genes; 3 folds choose the number of rounds.

    Parameters
    ----------
    train, test
        Cells with types, and cells to annotate.
    seed
        Seed of the folds.
    options
        Not used.
    """
    passed = clock()
    genes, labels = variable_genes(train), column(train, LABEL)
    x, x_test = log_cp10k(train)[:, genes], log_cp10k(test)[:, genes]
    scores = np.zeros(len(ROUNDS))
    for fitting, scoring in folds(labels, seed):
        model, names = _fit(x[fitting], labels[fitting], ROUNDS[-1], seed)
        for i, rounds in enumerate(ROUNDS):
            scores[i] += macro_f1(labels[scoring], names[model.predict(x[scoring], iteration_range=(0, rounds))])
    rounds = ROUNDS[best_of(scores)]
    model, names = _fit(x, labels, rounds, seed)
    settings = {"rounds": rounds, "grid": list(ROUNDS), "features": len(genes)}
    return Outcome(names[model.predict(x_test)], 0, settings, passed())


def _fit(x: object, labels: np.ndarray, rounds: int, seed: int) -> tuple[xgboost.XGBClassifier, np.ndarray]:
    """Return a fitted model and the names of its classes."""
    names, codes = np.unique(labels, return_inverse=True)
    return xgboost.XGBClassifier(n_estimators=rounds, random_state=seed, n_jobs=1).fit(x, codes), names
