"""Measure one job, and hold what came out."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from anndata import AnnData

from genemamba_sc.benchmark._columns import BATCH, LABEL, column, parts
from genemamba_sc.benchmark.methods._methods import SCIB, missing_packages
from genemamba_sc.benchmark.methods._outcome import Embedding, Options, Outcome
from genemamba_sc.benchmark.runs._cells import Cells
from genemamba_sc.benchmark.runs._jobs import Job, key_of, versions_of
from genemamba_sc.benchmark.runs._plain import plain
from genemamba_sc.benchmark.scores._integration_scores import score
from genemamba_sc.benchmark.scores._metrics import accuracy, knn_probe, macro_f1


@dataclass(frozen=True)
class BenchmarkRow:
    """Hold one measurement.

    Parameters
    ----------
    task, method
        ``"annotation"`` or ``"integration"``, and the name of the method.
    split, held_out, seed
        The split as it was asked for, the batch that it leaves out (``""``: none), and the seed.
    scores
        Scores by name, in [0, 1].
    n_train, n_test, n_unknown
        Cells of both parts, and test cells of types that the training part lacks: no method can be right about them.
        For integration ``n_train`` is the number of all cells.
    test_share
        Share of the cells in a drawn test part; 0 where the parts are the same for every seed.
    seconds
        Seconds of fit and prediction.
    settings
        What the method used, such as the penalty that it chose; what JSON cannot hold is described by its ``repr``.
    predictions
        SHA-256 of the predicted types; ``""`` for integration.
    details
        Scores that are not single numbers, such as accuracies by type.
    versions
        Versions of what was used.
    key
        Digest of cells, parts, method, seed, arguments and versions.
    """

    task: str
    method: str
    split: str
    held_out: str
    seed: int
    scores: dict[str, float]
    n_train: int
    n_test: int
    n_unknown: int
    test_share: float
    seconds: float
    settings: dict[str, Any]
    predictions: str
    details: dict[str, Any]
    versions: dict[str, str]
    key: str


@dataclass(frozen=True)
class NotRun:
    """Name a measurement that was not made, and why.

    Parameters
    ----------
    task, method
        As in :class:`BenchmarkRow`.
    reason
        What is not installed and how it is, or the error.
    split, held_out, seed
        As in :class:`BenchmarkRow`; ``""`` and -1 where it concerns all of them.
    """

    task: str
    method: str
    reason: str
    split: str = ""
    held_out: str = ""
    seed: int = field(default=-1)


def measure(job: Job, cells: Cells, options: Options) -> BenchmarkRow:
    """Run one job.

    Parameters
    ----------
    job, cells, options
        What is measured, on which cells, with which arguments of GeneMamba.

    Raises
    ------
    ValueError
        If the method returns predictions or an embedding that cannot be scored.
    """
    found = _annotated(job, cells, options) if job.rows is not None else _integrated(job, cells, options)
    return BenchmarkRow(
        task=job.method.task,
        method=job.method.name,
        split=job.split,
        held_out=job.held_out,
        seed=job.seed,
        test_share=job.test_share,
        versions=versions_of(job.method, cells.adata.n_vars),
        key=key_of(job, cells, options),
        **found,
    )


def _annotated(job: Job, cells: Cells, options: Options) -> dict[str, Any]:
    assert job.rows is not None
    train, test = parts(cells.adata, job.rows)
    labels, truth = column(train, LABEL), column(cells.adata, LABEL)[job.rows.test]
    outcome: Outcome = job.method.load()(train, test, job.seed, options)
    predicted = np.asarray(outcome.predicted).astype(str)
    if predicted.shape != truth.shape:
        raise ValueError(f"A method must name a type for each of {len(truth)} cells. Got the shape {predicted.shape}.")
    scores = {"accuracy": accuracy(truth, predicted), "macro_f1": macro_f1(truth, predicted)}
    if outcome.train_embedding is not None and outcome.test_embedding is not None:
        scores |= knn_probe(outcome.train_embedding, labels, outcome.test_embedding, truth)
    return {
        "scores": scores,
        "n_train": train.n_obs,
        "n_test": test.n_obs,
        "n_unknown": int((~np.isin(truth, labels)).sum()),
        "seconds": round(outcome.seconds, 2),
        "settings": plain(outcome.settings | {"params": outcome.params}),
        "predictions": hashlib.sha256("\n".join(predicted).encode()).hexdigest(),
        "details": {},
    }


def _integrated(job: Job, cells: Cells, options: Options) -> dict[str, Any]:
    blind = AnnData(cells.adata.X.copy(), obs=cells.adata.obs[[BATCH]].copy(), var=cells.adata.var.copy())
    blind.obs[BATCH] = blind.obs[BATCH].astype("category")
    embedding: Embedding = job.method.load()(blind, job.seed, options)
    found = score(
        np.asarray(embedding.values),
        column(cells.adata, LABEL),
        column(cells.adata, BATCH),
        method=job.method.title,
        scib=not missing_packages(SCIB),
    )
    scores = {name: value for name, value in found.items() if isinstance(value, float)}
    if wrong := [name for name, value in scores.items() if not np.isfinite(value)]:
        raise ValueError(f"Scores must be numbers. {', '.join(wrong)} of {job.method.title} are none on these cells.")
    return {
        "scores": scores,
        "n_train": cells.adata.n_obs,
        "n_test": cells.adata.n_obs,
        "n_unknown": 0,
        "seconds": embedding.seconds,
        "settings": plain(embedding.settings | {"width": int(embedding.values.shape[1])}),
        "predictions": "",
        "details": plain({name: value for name, value in found.items() if isinstance(value, dict)}),
    }
