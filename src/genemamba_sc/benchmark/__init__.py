"""Compare with baselines on cells that no method has seen."""

from typing import TYPE_CHECKING

from genemamba_sc._lazy import lazily

if TYPE_CHECKING:
    from genemamba_sc.benchmark import published
    from genemamba_sc.benchmark._columns import BATCH, LABEL, column, parts
    from genemamba_sc.benchmark._demo import demo_cells
    from genemamba_sc.benchmark._embeddings import harmony, pca
    from genemamba_sc.benchmark._features import (
        CLIP,
        genes_by_batch,
        log_cp10k,
        scaled_variable_genes,
        variable_genes,
    )
    from genemamba_sc.benchmark._harness import HarnessModel
    from genemamba_sc.benchmark._integration_scores import score
    from genemamba_sc.benchmark._jsonl import Row, append_row, read_rows
    from genemamba_sc.benchmark._knn import COMPONENTS
    from genemamba_sc.benchmark._linear import logistic
    from genemamba_sc.benchmark._methods import method_of
    from genemamba_sc.benchmark._metrics import NEIGHBOURS, accuracy, knn_probe, macro_f1
    from genemamba_sc.benchmark._neighbours import accuracy_of, nearest_types
    from genemamba_sc.benchmark._ours import integrated_model, new_model
    from genemamba_sc.benchmark._outcome import Embedding, Options, Outcome, clock
    from genemamba_sc.benchmark._report import report
    from genemamba_sc.benchmark._result import BenchmarkReport
    from genemamba_sc.benchmark._rows import BenchmarkRow, NotRun
    from genemamba_sc.benchmark._scvi import train_scvi
    from genemamba_sc.benchmark._splits import Split, batch_splits, largest_batches, stratified_split
    from genemamba_sc.benchmark._versions import installed_versions

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
    "BenchmarkReport": "_result",
    "BenchmarkRow": "_rows",
    "CLIP": "_features",
    "COMPONENTS": "_knn",
    "Embedding": "_outcome",
    "HarnessModel": "_harness",
    "LABEL": "_columns",
    "NEIGHBOURS": "_metrics",
    "NotRun": "_rows",
    "Options": "_outcome",
    "Outcome": "_outcome",
    "Row": "_jsonl",
    "Split": "_splits",
    "accuracy": "_metrics",
    "accuracy_of": "_neighbours",
    "append_row": "_jsonl",
    "batch_splits": "_splits",
    "clock": "_outcome",
    "column": "_columns",
    "demo_cells": "_demo",
    "genes_by_batch": "_features",
    "harmony": "_embeddings",
    "installed_versions": "_versions",
    "integrated_model": "_ours",
    "knn_probe": "_metrics",
    "largest_batches": "_splits",
    "log_cp10k": "_features",
    "logistic": "_linear",
    "macro_f1": "_metrics",
    "method_of": "_methods",
    "nearest_types": "_neighbours",
    "new_model": "_ours",
    "parts": "_columns",
    "pca": "_embeddings",
    "published": "",
    "read_rows": "_jsonl",
    "report": "_report",
    "scaled_variable_genes": "_features",
    "score": "_integration_scores",
    "stratified_split": "_splits",
    "train_scvi": "_scvi",
    "variable_genes": "_features",
}


__getattr__ = lazily(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
