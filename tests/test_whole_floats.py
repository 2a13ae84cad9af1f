"""Names that are numbers are written alike, whole or as floats."""

import numpy as np
import pytest

from genemamba_sc._whole_floats import as_text, sorted_names


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (1, "1"), (1.0, "1"), (np.float32(-2), "-2"), (np.int8(3), "3"), (1.5, "1.5"), ("1.0", "1.0"), ("T", "T"),
        (True, "True"), (float("inf"), "inf"), (1e16, "10000000000000000"),
    ],
)  # fmt: skip
def test_only_whole_floats_are_written_as_integers(name: object, text: str):
    assert as_text(name) == text


def test_numbers_are_sorted_by_size_before_texts_and_each_name_stands_once():
    names = ["b", 10, np.int64(2), 1.0, "a", 1, 2.5, "10", np.float32(-3)]
    assert sorted_names(names) == ["-3", "1", "2", "2.5", "10", "a", "b"]
