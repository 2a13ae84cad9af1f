"""Examples in docstrings run, and print what they say."""

import doctest
import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import scvi

import genemamba_sc as gm

if TYPE_CHECKING:
    from anndata import AnnData

PACKAGE = Path(gm.__file__).parent
MARKERS = ["CD3D", "CD3E", "IL7R", "CD2", "LTB", "MS4A1", "CD79A", "CD79B", "CD19", "BANK1"]
MARKERS += ["LYZ", "S100A8", "S100A9", "CD14", "FCN1"]  # of T cells, B cells and monocytes, as make_cells has them
OTHERS = ["ACTB", "B2M", "MALAT1", "TMSB4X", "RPLP0", "RPS27", "EEF1A1", "GAPDH", "FTH1", "FTL", "HLA-A", "HLA-B"]
OTHERS += ["HLA-C", "PTPRC", "VIM", "TPT1", "NACA", "UBA52", "FAU", "TMSB10", "PFN1", "CFL1", "MYL6", "ARPC2", "COTL1"]


def with_examples() -> Iterator[tuple[str, Any]]:
    """Functions, classes and methods whose docstring has an example."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if ">>> " not in path.read_text(encoding="utf-8"):
            continue
        module = importlib.import_module(
            ".".join(["genemamba_sc", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
        )
        own = [value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__]
        members = [member for value in own if inspect.isclass(value) for member in vars(value).values()]
        for value in (*own, *members):
            if callable(value) and ">>> " in (inspect.getdoc(value) or "") and ">>> " in (value.__doc__ or ""):
                yield f"{path.relative_to(PACKAGE).as_posix()}:{value.__qualname__}", value


FOUND = dict(with_examples())


def with_symbols(adata: "AnnData") -> "AnnData":
    adata.var_names = [*MARKERS, *OTHERS]
    del adata.var["symbol"]
    return adata


@pytest.fixture(scope="module")
def names(make_cells: Callable[..., "AnnData"], fit: Callable[..., gm.GeneMambaModel]) -> dict[str, Any]:
    """What an example may take as given: ``gm``, labelled cells, a query, and a model of the cells."""
    adata, query = with_symbols(make_cells()), with_symbols(make_cells(30, seed=1))
    query.obs_names = [f"query{i}" for i in range(query.n_obs)]
    model = fit(adata, setup={"labels_key": "cell_type", "batch_key": "batch"}, max_epochs=2)
    return {"gm": gm, "adata": adata, "query": query, "model": model}


@pytest.mark.filterwarnings("ignore::UserWarning")  # sixty cells are few, and are said to be
@pytest.mark.parametrize("name", FOUND)
def test_an_example_prints_what_it_says(name: str, names: dict[str, Any]):
    scvi.settings.seed = 0
    given = {**names, "adata": names["adata"].copy()} if name.endswith(":GeneMambaModel") else dict(names)
    test = doctest.DocTestParser().get_doctest(inspect.getdoc(FOUND[name]) or "", given, name, None, None)
    told: list[str] = []
    failed = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=told.append).failed
    assert test.examples and not failed, "".join(told)


def test_the_functions_that_users_call_have_examples():
    have = {name.split(":")[1].split(".")[-1] for name in FOUND}
    asked = {"GeneMambaModel", "annotate", "predict_celltype", "get_latent_representation", "report", "backend_info"}
    public = {name for name in gm.tl.__all__ if name[0].islower()} - {"gene_programs"}  # igraph is an extra
    assert sorted((asked | public) - have) == []
