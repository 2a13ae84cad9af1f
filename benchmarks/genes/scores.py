"""How well a score tells related pairs from others."""

import numpy as np
from pairs import Task
from sklearn.metrics import average_precision_score, roc_auc_score

EARLY, BINS = 0.05, 100


def scored(task: Task, score: np.ndarray) -> dict[str, float]:
    """AUROC with its standard error without any signal, AUPRC over the share of positives, early precision over it."""
    related = task.related
    n_positive, n = int(related.sum()), len(related)
    first = np.argsort(-score, kind="stable")[: max(1, int(EARLY * n))]
    base = n_positive / n
    return {
        "auroc": float(roc_auc_score(related, score)),
        "auroc_se": float(np.sqrt((n + 1) / (12 * n_positive * (n - n_positive)))),
        "auprc_ratio": float(average_precision_score(related, score)) / base,
        "early_ratio": float(related[first].mean()) / base,
        "n_pairs": n,
    }


def published(task: Task, score: np.ndarray) -> dict[str, float]:
    """The published evaluation: difference ratio of the mean absolute scores, KL and JS divergence of histograms.

    Histograms have 100 bins from the mean minus to the mean plus two standard deviations of all scores.
    """
    positive, negative = score[task.related], score[~task.related]
    ratio = (np.abs(positive).mean() - np.abs(negative).mean()) / np.abs(negative).mean()
    centre, spread = score.mean(), score.std()
    edges = np.linspace(centre - 2 * spread, centre + 2 * spread, BINS + 1)
    p, q = (np.histogram(part, edges)[0] + 1e-10 for part in (positive, negative))
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    js = (np.sum(p * np.log(p / middle)) + np.sum(q * np.log(q / middle))) / 2
    return {"diff_ratio": float(ratio), "kl": float(np.sum(p * np.log(p / q))), "js": float(js)}
