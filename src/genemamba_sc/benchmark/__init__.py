"""Compare with baselines on cells that no method has seen."""

from typing import TYPE_CHECKING

from genemamba_sc._lazy import lazily

if TYPE_CHECKING:
    from genemamba_sc.benchmark import published
    from genemamba_sc.benchmark._columns import BATCH, LABEL, column, parts
    from genemamba_sc.benchmark._demo import demo_cells
    from genemamba_sc.benchmark._harness import HarnessModel
    from genemamba_sc.benchmark._report import report
    from genemamba_sc.benchmark._splits import Split, batch_splits, largest_batches, stratified_split
    from genemamba_sc.benchmark.methods._embeddings import harmony, pca
    from genemamba_sc.benchmark.methods._features import (
        CLIP,
        genes_by_batch,
        log_cp10k,
        scaled_variable_genes,
        variable_genes,
    )
    from genemamba_sc.benchmark.methods._knn import COMPONENTS
    from genemamba_sc.benchmark.methods._linear import logistic
    from genemamba_sc.benchmark.methods._methods import method_of
    from genemamba_sc.benchmark.methods._ours import integrated_model, new_model
    from genemamba_sc.benchmark.methods._outcome import Embedding, Options, Outcome, clock
    from genemamba_sc.benchmark.methods._scvi import train_scvi
    from genemamba_sc.benchmark.results._result import BenchmarkReport
    from genemamba_sc.benchmark.runs._jsonl import Row, append_row, read_rows
    from genemamba_sc.benchmark.runs._rows import BenchmarkRow, NotRun
    from genemamba_sc.benchmark.runs._versions import installed_versions
    from genemamba_sc.benchmark.scores._integration_scores import score
    from genemamba_sc.benchmark.scores._metrics import NEIGHBOURS, accuracy, knn_probe, macro_f1
    from genemamba_sc.benchmark.scores._neighbours import accuracy_of, nearest_types

__all__ = [
    "BATCH",
    "BenchmarkReport",
    "BenchmarkRow",
    "CLIP",
    "COMPONENTS",
    "Embedding",
    "HarnessModel",
    "LABEL",
    "NEIGHBOURS",
    "NotRun",
    "Options",
    "Outcome",
    "Row",
    "Split",
    "accuracy",
    "accuracy_of",
    "append_row",
    "batch_splits",
    "clock",
    "column",
    "demo_cells",
    "genes_by_batch",
    "harmony",
    "installed_versions",
    "integrated_model",
    "knn_probe",
    "largest_batches",
    "log_cp10k",
    "logistic",
    "macro_f1",
    "method_of",
    "nearest_types",
    "new_model",
    "parts",
    "pca",
    "published",
    "read_rows",
    "report",
    "scaled_variable_genes",
    "score",
    "stratified_split",
    "train_scvi",
    "variable_genes",
]

_HOMES = {
    "BATCH": "_columns",
    "BenchmarkReport": "results._result",
    "BenchmarkRow": "runs._rows",
    "CLIP": "methods._features",
    "COMPONENTS": "methods._knn",
    "Embedding": "methods._outcome",
    "HarnessModel": "_harness",
    "LABEL": "_columns",
    "NEIGHBOURS": "scores._metrics",
    "NotRun": "runs._rows",
    "Options": "methods._outcome",
    "Outcome": "methods._outcome",
    "Row": "runs._jsonl",
    "Split": "_splits",
    "accuracy": "scores._metrics",
    "accuracy_of": "scores._neighbours",
    "append_row": "runs._jsonl",
    "batch_splits": "_splits",
    "clock": "methods._outcome",
    "column": "_columns",
    "demo_cells": "_demo",
    "genes_by_batch": "methods._features",
    "harmony": "methods._embeddings",
    "installed_versions": "runs._versions",
    "integrated_model": "methods._ours",
    "knn_probe": "scores._metrics",
    "largest_batches": "_splits",
    "log_cp10k": "methods._features",
    "logistic": "methods._linear",
    "macro_f1": "scores._metrics",
    "method_of": "methods._methods",
    "nearest_types": "scores._neighbours",
    "new_model": "methods._ours",
    "parts": "_columns",
    "pca": "methods._embeddings",
    "published": "",
    "read_rows": "runs._jsonl",
    "report": "_report",
    "scaled_variable_genes": "methods._features",
    "score": "scores._integration_scores",
    "stratified_split": "_splits",
    "train_scvi": "methods._scvi",
    "variable_genes": "methods._features",
}


__getattr__ = lazily(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
