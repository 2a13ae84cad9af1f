"""List the methods: where each is, what it needs, and whether it is quick."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

Task = Literal["annotation", "integration"]
# Methods that choose genes choose so many.
VARIABLE_GENES = 2000


@dataclass(frozen=True)
class Method:
    """Describe a method.

    Parameters
    ----------
    task, name
        What it does, and how it is asked for. A name may stand for a method of each task.
    title
        How it is called in sentences and pictures.
    home, function
        Module of this room, and the function in it.
    needs
        Packages that it imports and that this package does not install.
    picks_genes
        Whether it chooses variable genes, which takes scikit-misc where there are more than 2,000 genes.
    is_ours
        Whether it is GeneMamba or a part of it; the others are baselines.
    is_slow
        Whether a fit takes minutes on a CPU, so that it only runs where it is asked for.
    """

    task: Task
    name: str
    title: str
    home: str
    function: str
    needs: tuple[str, ...] = ()
    picks_genes: bool = False
    is_ours: bool = False
    is_slow: bool = False

    def load(self) -> Callable[..., Any]:
        """Return the function, whose module is imported now."""
        return getattr(import_module(f"genemamba_sc.benchmark.methods.{self.home}"), self.function)


# Distribution of each package, where the two names differ.
_DISTRIBUTIONS = {"skmisc": "scikit-misc", "scib_metrics": "scib-metrics"}
# What the scores of integration need beside scib-metrics itself.
SCIB = ("scib_metrics", "igraph", "leidenalg")
JUDGED = "genemamba"

METHODS = (
    Method("annotation", "genemamba", "GeneMamba", "_ours", "genemamba", is_ours=True),
    Method("annotation", "bag", "GeneMamba without layers", "_ours", "bag", is_ours=True),
    Method("annotation", "linear_head", "GeneMamba's linear part", "_ours", "linear_head", is_ours=True),
    Method("annotation", "random_encoder", "an untrained encoder", "_ours", "random_encoder", is_ours=True),
    Method("annotation", "l1", "logistic regression (L1)", "_linear", "l1"),
    Method("annotation", "lr_l2", "logistic regression (L2)", "_linear", "lr_l2"),
    Method("annotation", "lr_hvg", "logistic regression (L2, variable genes)", "_linear", "lr_hvg", picks_genes=True),
    Method("annotation", "rank512", "logistic regression (L2, ranks)", "_linear", "rank512"),
    Method("annotation", "knn", "kNN on PCA", "_knn", "knn", picks_genes=True),
    Method("annotation", "celltypist", "CellTypist", "_celltypist", "celltypist_labels", needs=("celltypist",)),
    Method("annotation", "xgboost", "XGBoost", "_xgboost", "xgboost_labels", needs=("xgboost",), picks_genes=True),
    Method("annotation", "scanvi", "scANVI", "_scvi", "scanvi", picks_genes=True, is_slow=True),
    Method("integration", "genemamba", "GeneMamba", "_ours", "genemamba_embedding", is_ours=True),
    Method("integration", "pca", "variable genes and PCA", "_embeddings", "pca_embedding", picks_genes=True),
    Method(
        "integration", "harmony", "Harmony", "_embeddings", "harmony_embedding", needs=("harmonypy",), picks_genes=True
    ),
    Method("integration", "scvi", "scVI", "_scvi", "scvi_embedding", picks_genes=True, is_slow=True),
)


def method_of(task: str, name: str) -> Method:
    """Return the method of a task by its name.

    Raises
    ------
    ValueError
        If there is none.
    """
    for method in METHODS:
        if (method.task, method.name) == (task, name):
            return method
    known = ", ".join(method.name for method in METHODS if method.task == task)
    raise ValueError(f"A method of {task} is one of {known}. Got {name!r}. Name one of these.")


def missing_packages(needs: tuple[str, ...]) -> tuple[str, ...]:
    """Return which packages are not installed, by the names that pip knows."""
    return tuple(distribution_of(name) for name in needs if find_spec(name) is None)


def needs_of(method: Method, n_vars: int) -> tuple[str, ...]:
    """Return the packages that a method imports for cells with so many genes."""
    picks = ("skmisc",) if method.picks_genes and n_vars > VARIABLE_GENES else ()
    return (*method.needs, *picks)


def distribution_of(name: str) -> str:
    """Return the name by which pip knows a package."""
    return _DISTRIBUTIONS.get(name, name)


def not_installed(distributions: tuple[str, ...]) -> str:
    """Say what is not installed and how it is."""
    return f"not installed: pip install {' '.join(distributions)}"
