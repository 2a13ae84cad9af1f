"""Run GeneMamba beside baselines on your own cells."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData

from genemamba_sc.benchmark._columns import LABEL, column
from genemamba_sc.benchmark.methods._methods import SCIB, Method, missing_packages, needs_of, not_installed
from genemamba_sc.benchmark.methods._outcome import Options, clock
from genemamba_sc.benchmark.results._folder import holding, kept_rows
from genemamba_sc.benchmark.results._result import BenchmarkReport
from genemamba_sc.benchmark.runs._cells import Cells, Source, has_batches, read_cells
from genemamba_sc.benchmark.runs._choices import chosen_methods, chosen_options, chosen_seeds, chosen_splits
from genemamba_sc.benchmark.runs._jobs import Job, jobs_of, key_of
from genemamba_sc.benchmark.runs._jsonl import append_row
from genemamba_sc.benchmark.runs._progress import Estimate, Progress, alive, say
from genemamba_sc.benchmark.runs._random_state import keeping_random_state
from genemamba_sc.benchmark.runs._rows import BenchmarkRow, NotRun, measure
from genemamba_sc.data import Scale
from genemamba_sc.model.fitting._training import quiet


def report(
    adata: AnnData,
    labels_key: str,
    batch_key: str | None = None,
    *,
    splits: Sequence[str] | str | None = None,
    seeds: int | Sequence[int] = 3,
    methods: Sequence[str] | str | None = None,
    query: AnnData | None = None,
    folder: str | Path | None = None,
    unlabeled_category: object = None,
    layer: str | None = None,
    gene_id_key: str | None = None,
    scale: Scale | None = None,
    model_kwargs: Mapping[str, Any] | None = None,
    train_kwargs: Mapping[str, Any] | None = None,
    on_progress: Callable[[Progress], None] | None = say,
) -> BenchmarkReport:
    """Run GeneMamba and its parts beside baselines, and say who won.

    Every method sees training cells with labels and test cells without. Variable genes, scaling, components and
    penalties are chosen on training cells. Where there are two batches or more, methods that integrate them run on all
    cells without labels, too, and are scored by the labels.

    Parameters
    ----------
    adata
        Cells, with counts or what comes of them (the scale is found out); nothing is written to them.
    labels_key
        Column of ``obs`` with the cell types.
    batch_key
        Column of ``obs`` with the batches.
    splits
        ``"random"`` (a fifth of the cells is tested; ``"random:0.3"``: that share), ``"batch"`` (each of the four
        largest batches is left out once; ``"batch:2"``: of the two largest), ``"few:10"`` (as random, trained on ten
        cells of each type; ``"few:0.05"``: on that share of each), ``"query:COLUMN=VALUE"`` (these cells are tested,
        all others train), ``"query"`` (the cells of ``query`` are). ``None`` takes ``"random"``, and ``"batch"`` and
        ``"query"`` where there are such.
    seeds
        Number of seeds, or the seeds. A seed draws a split, and all that a method draws.
    methods
        Names of methods, ``"all"``, or ``None`` for those that take seconds: scANVI and scVI, which take minutes on a
        CPU, run only where they are named. A method whose package is not installed is named in the result.
    query
        A second AnnData with the same columns; the genes of both are used.
    folder
        Folder that keeps each finished row. A second call measures only what is missing. Rows of other cells, parts,
        arguments, versions or code are not used again.
    unlabeled_category
        Value of ``labels_key`` that means "no label"; such cells are left out.
    layer, gene_id_key, scale
        As in :meth:`genemamba_sc.GeneMambaModel.setup_anndata`.
    model_kwargs, train_kwargs
        Arguments of :class:`genemamba_sc.GeneMambaModel` and of :meth:`genemamba_sc.GeneMambaModel.train`, in place of
        the defaults. With ``folder`` they are None, numbers, text, lists, dicts or configurations of these.
    on_progress
        Function that is called before and after each measurement. The default writes to the standard error, and says
        meanwhile what runs and for how long: in a line that moves on a terminal, every ten seconds elsewhere.

    Returns
    -------
    BenchmarkReport
        A method that fails is named with its error in ``not_run``, and the rest goes on.

    Raises
    ------
    TypeError, ValueError
        If an argument, a column or the values cannot serve, or cells of ``query`` are in ``adata``; nothing is measured
        then.
    OSError
        If the folder cannot be written to.

    Warns
    -----
    UserWarning
        Where the cells are read: columns that are no genes, or a scale that is assumed.

    Examples
    --------
    >>> found = gm.benchmark.report(adata, "cell_type", methods=["lr_l2", "knn"], seeds=2, on_progress=None)
    >>> found.to_frame()["method"].tolist()
    ['lr_l2', 'knn', 'lr_l2', 'knn']
    """
    seeds_ = chosen_seeds(seeds)
    options = chosen_options(model_kwargs, train_kwargs, is_kept=folder is not None)
    source = Source(labels_key, batch_key, unlabeled_category, layer, gene_id_key, scale)
    several = has_batches(adata, source)
    chosen = chosen_splits(splits, has_batches=several, has_query=query is not None)
    asked = chosen_methods(methods, integrates=several)
    with quiet(), keeping_random_state():
        cells = read_cells(adata, query, source, chosen)  # before the folder is made: a refusal leaves nothing behind
    with quiet(), holding(folder) as rows_file, keeping_random_state():
        return _run(cells, source, chosen, seeds_, asked, options, rows_file, on_progress)


def _run(
    cells: Cells,
    source: Source,
    splits: tuple,
    seeds: tuple[int, ...],
    methods: tuple[Method, ...],
    options: Options,
    rows_file: Path | None,
    on_progress: Callable[[Progress], None] | None,
) -> BenchmarkReport:
    jobs = jobs_of(cells, splits, methods, seeds)
    absent = _absent(methods, cells.adata.n_vars)
    left_out = {(one.task, one.method) for one in absent}
    jobs = tuple(job for job in jobs if (job.method.task, job.method.name) not in left_out)
    rows, failed = _measured(jobs, cells, options, rows_file, on_progress or _silent)
    types = np.unique(column(cells.adata, LABEL))
    return BenchmarkReport(
        labels_key=source.labels_key,
        batch_key=source.batch_key,
        seeds=seeds,
        n_cells=cells.adata.n_obs,
        n_genes=cells.adata.n_vars,
        n_types=len(types),
        n_batches=cells.n_batches,
        n_unlabelled=cells.n_unlabelled,
        values=cells.values,
        digest=cells.digest,
        rows=rows,
        not_run=(*absent, *_no_scib(methods), *failed),
        versions=dict(sorted({pair for row in rows for pair in row.versions.items()})),
    )


def _absent(methods: Sequence[Method], n_vars: int) -> list[NotRun]:
    """Name the methods whose packages are not installed."""
    found = []
    for method in methods:
        if missing := missing_packages(needs_of(method, n_vars)):
            found.append(NotRun(method.task, method.name, not_installed(missing)))
    return found


def _no_scib(methods: Sequence[Method]) -> list[NotRun]:
    """Say that scores of scib-metrics are missing, where something is integrated."""
    missing = missing_packages(SCIB) if any(method.task == "integration" for method in methods) else ()
    return [NotRun("integration", "scores of scib-metrics", not_installed(missing))] if missing else []


def _measured(
    jobs: Sequence[Job],
    cells: Cells,
    options: Options,
    rows_file: Path | None,
    on_progress: Callable[[Progress], None],
) -> tuple[tuple[BenchmarkRow, ...], tuple[NotRun, ...]]:
    """Take each row from the file, or measure it."""
    keys = [key_of(job, cells, options) for job in jobs]
    kept = kept_rows(rows_file, set(keys))
    found: list[BenchmarkRow] = []
    failed: list[NotRun] = []
    estimate = Estimate()
    for row in kept.values():
        estimate.add(row)
    for number, (job, key) in enumerate(zip(jobs, keys)):
        if key in kept:
            found.append(kept[key])
            continue
        rest = [other for other, of in zip(jobs[number:], keys[number:]) if of not in kept]
        begun = Progress(number, len(jobs), job.title, "", estimate.of(rest))
        on_progress(begun)
        passed = clock()
        try:
            with alive(begun, on_progress):
                row = measure(job, cells, options)
        except Exception as error:  # noqa: BLE001 - hours of other rows must not be lost to one; it is named
            reason = f"{type(error).__name__}: {error}"
            failed.append(NotRun(job.method.task, job.method.name, reason, job.split, job.held_out, job.seed))
            on_progress(Progress(number + 1, len(jobs), job.title, f"failed, {reason}", estimate.of(rest[1:])))
            continue
        found.append(row)
        estimate.add(row, passed())
        if rows_file is not None:
            append_row(rows_file, asdict(row))
        on_progress(Progress(number + 1, len(jobs), job.title, _said(row), estimate.of(rest[1:])))
    return tuple(found), tuple(failed)


def _said(row: BenchmarkRow) -> str:
    shown = [name for name in ("accuracy", "macro_f1", "avg_bio", "avg_batch", "knn_accuracy") if name in row.scores]
    return ", ".join(f"{name} {row.scores[name]:.3f}" for name in shown[:2]) + f" in {row.seconds:.1f} s"


def _silent(progress: Progress) -> None:
    pass
