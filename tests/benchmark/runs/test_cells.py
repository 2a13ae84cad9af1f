"""Cells in the form that methods read, whatever the file is like."""

from collections.abc import Callable

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData

from genemamba_sc.benchmark.runs._cells import Source, has_batches, read_cells
from genemamba_sc.benchmark.runs._choices import SplitChoice

MakeCells = Callable[..., AnnData]
BY_BATCH = (SplitChoice.parse("query:batch=second"),)


def test_counts_are_read_as_they_are_and_logarithms_as_the_counts_they_come_from(make_cells: MakeCells):
    counts = make_cells()
    logs = counts.copy()
    sc.pp.normalize_total(logs, target_sum=1e4)
    sc.pp.log1p(logs)
    logs.layers["counts"] = counts.X.copy()
    source = Source("cell_type")
    found = read_cells(counts, None, source, ())
    assert found.values == "counts"
    assert (found.adata.X != counts.X).nnz == 0
    assert read_cells(logs, None, Source("cell_type", layer="counts"), ()).digest == found.digest
    again = read_cells(logs, None, source, ())
    assert again.values == "log1p"
    # A cell without a single count of one comes back as multiples of its smallest value.
    ones = np.asarray(counts.X.min(axis=1).todense()).ravel() == 0
    np.testing.assert_allclose(again.adata.X.toarray()[ones], counts.X.toarray()[ones])


def test_methods_see_values_types_and_batches_and_nothing_else(make_cells: MakeCells):
    adata = make_cells()
    adata.obs["secret"] = adata.obs["cell_type"]
    adata.obsm["X_secret"], adata.uns["secret"] = np.eye(60), "types"
    adata.layers["secret"], adata.var["marker_of"] = adata.X.copy(), "B cell"
    found = read_cells(adata, None, Source("cell_type", "batch"), ()).adata
    assert list(found.obs) == ["cell_type", "batch"]
    assert not found.obsm and not found.uns and not found.layers and not len(found.var.columns)
    assert found.obs["cell_type"].tolist() == adata.obs["cell_type"].tolist()
    assert found.obs["batch"].tolist() == adata.obs["batch"].tolist()
    assert found.var_names.tolist() == adata.var_names.tolist()


def test_cells_without_a_label_are_left_out_and_counted(make_cells: MakeCells):
    adata = make_cells()
    adata.obs["cell_type"] = adata.obs["cell_type"].astype(str)
    adata.obs.iloc[[0, 7], 0] = "?"
    found = read_cells(adata, None, Source("cell_type", unlabeled_category="?"), BY_BATCH)
    assert (found.adata.n_obs, found.n_unlabelled) == (58, 2)
    kept = np.delete(np.arange(60), [0, 7])
    assert found.adata.obs["cell_type"].tolist() == adata.obs["cell_type"].iloc[kept].tolist()
    assert found.queries["query:batch=second"].tolist() == (adata.obs["batch"].iloc[kept] == "second").tolist()


@pytest.mark.parametrize("unlabeled", [-1, -1.0, "-1"])
@pytest.mark.parametrize("dtype", [int, float])
def test_no_label_is_a_number_however_it_is_written(make_cells: MakeCells, dtype: type, unlabeled: object):
    adata = make_cells()
    adata.obs["t"] = np.array([-1, 1, 2] * 20, dtype=dtype)
    found = read_cells(adata, None, Source("t", unlabeled_category=unlabeled), (SplitChoice.parse("random"),))
    assert (found.n_unlabelled, sorted(set(found.adata.obs["cell_type"]))) == (20, ["1", "2"])


def test_numbers_of_two_files_are_the_same_types_whatever_their_form(make_cells: MakeCells):
    reference, query = make_cells(), make_cells(seed=1)
    reference.obs["t"], query.obs["t"] = [1, 2, 3] * 20, [1.0, 2.0, 3.0] * 20
    found = read_cells(reference, query, Source("t"), (SplitChoice.parse("query"),))
    assert sorted(set(found.adata.obs["cell_type"])) == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("values", "value"),
    [
        (np.array([0.1, 0.2, 3.0] * 20, dtype=np.float32), "0.1"),
        (pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03"] * 20), "2020-01-01"),
    ],
    ids=["float32", "days"],
)
def test_a_query_is_named_as_pandas_writes_it(make_cells: MakeCells, values: object, value: str):
    adata = make_cells()
    adata.obs["donor"] = values
    split = SplitChoice.parse(f"query:donor={value}")
    found = read_cells(adata, None, Source("cell_type"), (split,))
    np.testing.assert_array_equal(found.queries[split.text], [True, False, False] * 20)


@pytest.mark.parametrize("value", ["2", "2.0"])
@pytest.mark.parametrize("dtype", [int, float])
def test_a_query_is_named_by_a_number_however_it_is_written(make_cells: MakeCells, dtype: type, value: str):
    adata = make_cells()
    adata.obs["donor"] = np.array([1, 2, 3] * 20, dtype=dtype)
    split = SplitChoice.parse(f"query:donor={value}")
    found = read_cells(adata, None, Source("cell_type"), (split,))
    np.testing.assert_array_equal(found.queries[split.text], [False, True, False] * 20)


def test_a_second_file_is_read_over_the_genes_of_both(make_cells: MakeCells):
    reference, query = make_cells(), make_cells(30, seed=1)[:, ::-1].copy()
    query = query[:, 5:].copy()
    query.obs_names = reference.obs_names[:30]
    found = read_cells(reference, query, Source("cell_type"), (*BY_BATCH, SplitChoice.parse("query")))
    assert found.adata.var_names.tolist() == reference.var_names[:35].tolist()
    assert found.queries["query"].tolist() == [False] * 60 + [True] * 30
    assert found.queries["query:batch=second"].sum() == 30  # none of the second file
    np.testing.assert_array_equal(found.adata.X[60:].toarray(), query[:, ::-1].X.toarray())
    assert found.adata.obs_names.is_unique


def test_genes_are_named_by_the_column_that_is_asked_for(make_cells: MakeCells):
    adata = make_cells()
    assert read_cells(adata, None, Source("cell_type", gene_id_key="symbol"), ()).adata.var_names[3] == "GENE3"
    with pytest.raises(ValueError, match=r"gene_id_key='name' is not a column of adata.var, which has \['symbol'\]"):
        read_cells(adata, None, Source("cell_type", gene_id_key="name"), ())


def test_the_digest_changes_with_whatever_a_method_reads(make_cells: MakeCells):
    def digest(change: Callable[[AnnData], object], batch_key: str | None = "batch") -> str:
        adata = make_cells()
        change(adata)
        return read_cells(adata, None, Source("cell_type", batch_key), ()).digest

    def other_value(adata: AnnData) -> None:
        adata.X.data[5] += 1

    def other_gene(adata: AnnData) -> None:
        adata.var_names = [*adata.var_names[:-1], "ENSG00000009999"]

    def other_label(adata: AnnData) -> None:
        adata.obs["cell_type"] = np.roll(adata.obs["cell_type"].astype(str), 1)

    def other_batch(adata: AnnData) -> None:
        adata.obs["batch"] = np.roll(adata.obs["batch"].astype(str), 1)

    def nothing(adata: AnnData) -> None:
        adata.obs_names = [f"other{i}" for i in range(adata.n_obs)]

    changes = (nothing, other_value, other_gene, other_label, other_batch)
    found = [digest(change) for change in changes] + [digest(nothing, None)]
    assert len(set(found)) == 6
    assert digest(nothing) == found[0]


@pytest.mark.parametrize(
    ("column", "values", "source", "told"),
    [
        ("cell_type", None, Source("kind"), "labels_key='kind' is not a column of adata.obs"),
        ("cell_type", ["T"] * 59 + ["nan"], Source("cell_type"), "has 1 missing values .* pass unlabeled_category"),
        ("cell_type", ["T"] * 60, Source("cell_type"), r"has 1 cell type\(s\)"),
        ("batch", ["a"] * 59 + [None], Source("cell_type", "batch"), r"\['batch'\] has 1 missing values"),
        ("batch", list(range(60)), Source("cell_type", "batch"), "Batches are shared by cells"),
    ],
)
def test_columns_that_cannot_serve_are_refused(make_cells: MakeCells, column: str, values, source: Source, told: str):
    adata = make_cells()
    if values is not None:
        adata.obs[column] = values
    with pytest.raises(ValueError, match=told):
        has_batches(adata, source)


def test_one_batch_is_no_batches(make_cells: MakeCells):
    adata = make_cells()
    assert has_batches(adata, Source("cell_type", "batch"))
    assert not has_batches(adata, Source("cell_type"))
    adata.obs["batch"] = "one"
    with pytest.warns(UserWarning, match="has one batch only"):
        assert not has_batches(adata, Source("cell_type", "batch"))


@pytest.mark.parametrize(
    ("split", "told"),
    [("query:donor=1", "which has \\['cell_type', 'batch'\\]"), ("query:batch=third", "0 of 60 cells are the query")],
)
def test_a_query_that_is_not_there_is_refused(make_cells: MakeCells, split: str, told: str):
    with pytest.raises(ValueError, match=told):
        read_cells(make_cells(), None, Source("cell_type"), (SplitChoice.parse(split),))


def test_two_files_without_a_common_gene_are_refused(make_cells: MakeCells):
    query = make_cells(30)
    query.var_names = query.var["symbol"]
    with pytest.raises(ValueError, match="Reference and query must share genes. Got none"):
        read_cells(make_cells(), query, Source("cell_type"), (SplitChoice.parse("query"),))


def shares(reference: AnnData, query: AnnData) -> None:
    read_cells(reference, query, Source("cell_type"), (SplitChoice.parse("query"),))


@pytest.mark.parametrize("renamed", [False, True])
def test_query_cells_that_are_among_the_reference_are_refused(make_cells: MakeCells, renamed: bool):
    reference = make_cells()
    query = ad.concat([reference[[5, 9]], make_cells(4, seed=1)[[0, 1]]])
    query.obs_names = [f"new{i}" for i in range(4)] if renamed else ["cell5", "cell9", "a", "b"]
    told = (
        r"Query cells must not be among the cells of adata. 2 of 4 are. Pass adata without them, or write "
        "splits='query:COLUMN=VALUE'."
    )
    with pytest.raises(ValueError, match=told):
        shares(reference, query)
    # Other genes, and another scale, make no new cell of it.
    fewer = query[:, ::-1][:, 3:].copy()
    sc.pp.normalize_total(fewer, target_sum=1e4)
    with pytest.raises(ValueError, match="2 of 4 are"):
        shares(reference, fewer)
    shares(reference, query[2:].copy())


def test_cells_that_agree_in_few_values_or_none_are_the_same_only_by_name(make_cells: MakeCells):
    reference, query = make_cells(), make_cells(30, seed=1)
    for cells in (reference, query):
        values = cells.X.toarray()
        values[:2] = 0
        values[1, [2, 4, 5]] = [1, 3, 1]
        cells.X = type(cells.X)(values)
    query.obs_names = [f"new{i}" for i in range(30)]
    shares(reference, query)
    query.obs_names = reference.obs_names[:30]
    with pytest.raises(ValueError, match="1 of 30 are"):
        shares(reference, query)


def test_cells_without_a_label_train_nothing_and_may_be_in_both(make_cells: MakeCells):
    reference, query = make_cells(), make_cells()[:9].copy()
    reference.obs["cell_type"] = reference.obs["cell_type"].astype(str)
    reference.obs.iloc[:9, 0] = "?"
    found = read_cells(reference, query, Source("cell_type", unlabeled_category="?"), (SplitChoice.parse("query"),))
    assert found.queries["query"].tolist() == [False] * 51 + [True] * 9
