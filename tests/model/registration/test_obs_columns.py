"""Columns of obs: which can serve as batch and labels, and what «no label» is in each of them."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from genemamba_sc.model.registration._obs_columns import check_labels, check_obs_column


def cells(values: Any) -> AnnData:
    obs = pd.DataFrame({"mine": values}, index=[f"c{i}" for i in range(len(values))])
    return AnnData(np.ones((len(values), 2), np.float32), obs=obs)


@pytest.mark.parametrize(
    ("values", "given", "found"),
    [
        pytest.param([0, 1, -1], "-1", -1, id="a number written as text"),
        pytest.param([0, 1, -1], -1, -1, id="a number"),
        pytest.param([0.0, 1.0, -1.0], -1, -1.0, id="a whole number among floats"),
        pytest.param([0.0, 1.0, -1.0], "-1", -1.0, id="text of a whole number among floats"),
        pytest.param([True, False], 1, 1, id="True is no number"),
        pytest.param(["a", "b", "-1"], -1, "-1", id="text written as a number"),
        pytest.param(["a", "b", "NA"], "NA", "NA", id="a word for missing that is named"),
        pytest.param(["a", "b", "c"], "?", "?", id="no value of the column"),
        pytest.param(["a", "b", "c"], None, None, id="none given"),
    ],
)
def test_no_label_is_found_in_the_type_of_the_column(values: list, given: Any, found: Any):
    unlabeled = check_obs_column(cells(values), "mine", "labels_key", given)
    assert unlabeled == found
    assert type(unlabeled) is type(found) or isinstance(unlabeled, np.number)


@pytest.mark.parametrize("missing", ["nan", "NA", "", "None", "<NA>", None, np.nan])
def test_a_missing_label_is_refused_also_where_it_is_text(missing: Any):
    shown = "NaN" if missing is None or missing != missing else repr(missing)
    with pytest.raises(ValueError, match=rf"has 2 missing values \({shown}\); .*unlabeled_category='Unknown'"):
        check_obs_column(cells(pd.Series(["a", missing, "b", missing], dtype=object).to_numpy()), "mine", "labels_key")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        pytest.param([b"a", b"b"], "bytes", id="bytes"),
        pytest.param(pd.cut([1.0, 2.0, 3.0], 3), "Interval", id="intervals"),
        pytest.param(pd.to_datetime(["2026-01-01", "2026-01-02"]), "Timestamp", id="days"),
    ],
)
def test_values_that_a_saved_model_could_not_hold_are_refused_early(values: Any, kind: str):
    with pytest.raises(ValueError, match=rf"must hold text or numbers\. Got values of the types {kind}.*astype\(str\)"):
        check_obs_column(cells(values), "mine", "batch_key")


def test_two_columns_of_one_name_are_refused():
    adata = cells(["a", "b"])
    adata.obs = pd.DataFrame([["a", "b"], ["b", "a"]], index=adata.obs_names, columns=["mine", "mine"])
    with pytest.raises(ValueError, match="batch_key='mine' must name one column of adata.obs; it has 2 of that name"):
        check_obs_column(adata, "mine", "batch_key")


def test_a_measurement_is_no_cell_type():
    with pytest.raises(ValueError, match=r"has 60 different values in 60 cells, .*bin a measurement first"):
        check_labels(cells(np.linspace(0, 1, 60)), "mine", None)


def test_as_many_types_as_a_few_cells_have_are_allowed():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_labels(cells(list("abcd")), "mine", None) is None


@pytest.mark.parametrize(
    ("values", "kept"), [pytest.param([0, 1, 0, 1], None, id="numbers"), pytest.param(list("abab"), "?", id="text")]
)
def test_no_label_that_no_cell_has_warns_and_is_dropped_where_it_cannot_be_sorted(values: list, kept: str | None):
    with pytest.warns(UserWarning, match=r"unlabeled_category='\?' is not a value of adata.obs\['mine'\], so every"):
        assert check_labels(cells(values), "mine", "?") == kept


def test_one_labelled_cell_of_each_type_is_few_labels_and_no_measurement():
    values = [*(f"type {i}" for i in range(12)), *["?"] * 48]
    assert check_labels(cells(values), "mine", "?") == "?"
    numbers = [*np.linspace(0.1, 1, 12), *[-1.0] * 48]
    with pytest.raises(ValueError, match="has 12 different values in 12 cells"):
        check_labels(cells(numbers), "mine", -1.0)


@pytest.mark.parametrize(
    ("n_types", "n_cells", "refused"),
    [
        (10, 10, False),
        (11, 22, False),
        (11, 21, True),
        (60, 60, True),
        (31, 60, True),
        (30, 60, False),
        (300, 500, True),
    ],
)
def test_types_must_be_shared_by_cells(n_types: int, n_cells: int, refused: bool):
    adata = cells([f"type {i % n_types}" for i in range(n_cells)])
    if not refused:
        assert check_labels(adata, "mine", None) is None
        return
    with pytest.raises(ValueError, match=rf"has {n_types} different values in {n_cells} cells"):
        check_labels(adata, "mine", None)


def test_no_cells_are_told_as_such_and_not_as_a_lack_of_types():
    with pytest.raises(ValueError, match=r"At least one cell is needed; the AnnData has 0 cells\. A filter"):
        check_labels(cells(["a", "b"])[:0].copy(), "cell_type", None)
