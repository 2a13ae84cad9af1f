"""The picture of a benchmark: a panel per split and score, a point per method, bars where there are intervals."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from genemamba_sc.pl import benchmark


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


class Report:
    """What a report tells."""

    def __init__(self, *rows: tuple) -> None:
        names = ["task", "split", "title", "metric", "metric_title", "is_ours", "is_compared", "mean", "low", "high"]
        self.table = pd.DataFrame(rows, columns=names).assign(n_seeds=2)

    def summary(self) -> pd.DataFrame:
        return self.table


REPORT = Report(
    ("annotation", "random", "GeneMamba", "macro_f1", "macro-F1", True, True, 0.9, 0.8, 0.95),
    ("annotation", "random", "kNN", "macro_f1", "macro-F1", False, True, 0.92, None, None),
    ("annotation", "random", "GeneMamba", "accuracy", "accuracy", True, True, 0.8, 0.7, 0.9),
    ("annotation", "random", "GeneMamba", "nmi", "NMI", True, False, 0.8, 0.7, 0.9),
    ("integration", "all cells", "PCA", "knn_accuracy", "kNN accuracy", False, False, 0.5, 0.4, 0.6),
)


def test_each_split_and_compared_score_has_a_panel_and_each_method_a_point():
    axes = [ax for ax in benchmark(REPORT).axes if ax.axison]
    assert [(ax.get_title(), ax.get_xlabel().split(" (")[0]) for ax in axes] == [
        ("annotation, random", "macro-F1"),
        ("annotation, random", "accuracy"),
        ("integration, all cells", "kNN accuracy"),
    ]
    first = axes[0]
    assert [label.get_text() for label in first.get_yticklabels()] == ["GeneMamba", "kNN"]  # the best on top
    bar, point, no_bar, other = first.lines
    np.testing.assert_allclose(bar.get_xdata(), [0.8, 0.95])
    assert (point.get_xdata()[0], other.get_xdata()[0]) == (0.9, 0.92)
    assert np.isnan(no_bar.get_xdata()).all()
    assert point.get_color() == bar.get_color() != other.get_color()
    assert first.get_xlabel() == "macro-F1 (mean of 2 seeds, 95 % interval)"


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_report_or_has_no_scores_is_refused():
    with pytest.raises(TypeError, match="A report is drawn. Got list"):
        benchmark([1])
    with pytest.raises(ValueError, match="Got none: no method ran"):
        benchmark(Report())
