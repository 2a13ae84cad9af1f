"""The deletion test, drawn."""

from types import SimpleNamespace

import matplotlib
import pandas as pd
import pytest

matplotlib.use("Agg")

from genemamba_sc import pl


def test_a_curve_is_drawn_for_each_order_at_the_deleted_percent():
    curves = pd.DataFrame({"attribution": [5.0, 1.0], "random": [5.0, 4.5]}, index=[0.0, 0.5])
    ax = pl.attribution(SimpleNamespace(deletion=curves, n_tested=7))
    assert {line.get_label(): list(line.get_ydata()) for line in ax.lines} == {
        "attribution": [5.0, 1.0],
        "random": [5.0, 4.5],
    }
    assert list(ax.lines[0].get_xdata()) == [0.0, 50.0]
    assert ax.get_ylabel() == "mean score of 7 cells"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["attribution", "random"]
    assert pl.attribution(SimpleNamespace(deletion=curves, n_tested=7), ax=ax) is ax


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_attribution_is_refused():
    with pytest.raises(TypeError, match="An Attribution is drawn. Got NoneType"):
        pl.attribution(None)
