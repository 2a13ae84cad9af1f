"""The confusion matrix: shares of rows, no zeros, the order of the reference."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from genemamba_sc.pl import confusion_matrix


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def shown(ax: plt.Axes) -> list[list[str]]:
    n = len(ax.get_xticks())
    texts = [text.get_text() for text in ax.texts]
    return [texts[i * n : (i + 1) * n] for i in range(len(texts) // n)]


def test_rows_are_shares_and_zeros_are_not_printed():
    truth = pd.Series(pd.Categorical(["T", "T", "T", "T", "B"], categories=["T", "B"]))

    ax = confusion_matrix(truth, ["T", "T", "T", "B", "B"])

    assert shown(ax) == [["75%", "25%"], ["", "100%"]]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["T (4)", "B (1)"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["T", "B"]


def test_types_that_do_not_occur_are_left_out_and_foreign_ones_come_last():
    truth = pd.Series(pd.Categorical(["T", "B"], categories=["T", "absent", "B"]))

    ax = confusion_matrix(truth, ["A", "B"])

    assert [label.get_text() for label in ax.get_yticklabels()] == ["T (1)", "B (1)", "A (0)"]
    assert shown(ax) == [["", "", "100%"], ["", "100%", ""], ["", "", ""]]


def test_without_categories_types_are_sorted_and_axes_of_the_caller_are_used():
    ax = plt.subplots()[1]

    assert confusion_matrix(np.array([2, 1]), np.array([2, 1]), ax=ax) is ax
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2"]


@pytest.mark.parametrize(
    "truth",
    [pd.Series([1.0, 2.0, 1.0]), pd.Series([1.0, 2.0, 1.0]).astype("category"), np.array([1, 2, 1], np.float32)],
    ids=["floats", "categories", "short floats"],
)
def test_whole_floats_are_the_same_types_as_integers(truth):
    ax = confusion_matrix(truth, pd.Series([1, 2, 1]))

    assert [label.get_text() for label in ax.get_yticklabels()] == ["1 (2)", "2 (1)"]
    assert shown(ax) == [["100%", ""], ["", "100%"]]


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        ([], [], "Got 0 and 0"),
        (["T"], ["T", "B"], "Got 1 and 2"),
        (["T", None], ["T", "B"], "1 of 2 lack one"),
        (["T", "B"], pd.Series(["T", np.nan]), "1 of 2 lack one"),
        (
            pd.DataFrame({"a": ["T"], "b": ["B"]}),
            ["T"],
            "truth must have one type for each cell. Got a DataFrame of 2 ",
        ),
        (["T"], np.array([["T", "B"]]), r"predicted must .* Got a ndarray of 2 dimensions\. Pass one column, such as"),
        (["T"], "T", "predicted must have one type for each cell. Got a str of 0 dimensions"),
    ],
    ids=["no cells", "other lengths", "no truth", "no prediction", "table", "two dimensions", "text"],
)
def test_what_cannot_be_compared_is_refused(truth, predicted, message: str):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(truth, predicted)


def test_numbers_are_sorted_by_size():
    ax = confusion_matrix([10, 2, 1], [10, 2, 30])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "10", "30"]


def test_two_series_of_the_same_cells_in_another_order_are_refused():
    truth = pd.Series(["T", "B", "B"], index=["a", "b", "c"])
    said = truth.iloc[::-1]
    with pytest.raises(ValueError, match=r"same index in another order\. Pass predicted\.loc\[truth\.index\]"):
        confusion_matrix(truth, said)
    assert shown(confusion_matrix(truth, said.loc[truth.index])) == [["100%", ""], ["", "100%"]]
    # Cells of other names, and what has no names, are taken row by row.
    assert shown(confusion_matrix(truth, said.reset_index(drop=True)))[0] == ["50%", "50%"]
    assert shown(confusion_matrix(truth, said.to_numpy()))[0] == ["50%", "50%"]
