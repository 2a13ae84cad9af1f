"""Rank correlations as bars."""

from types import SimpleNamespace

import matplotlib
import pandas as pd
import pytest

matplotlib.use("Agg")

from genemamba_sc import pl


def test_a_bar_for_each_method_with_its_error_and_the_copy_apart():
    table = pd.DataFrame({"spearman": [0.4, 1.0], "spearman_sem": [0.1, 0.0]}, index=["embedding", "copy"])
    ax = pl.reconstruction(SimpleNamespace(protocol="masked", cells=pd.Index(list("abc")), to_frame=lambda: table))
    assert [bar.get_width() for bar in ax.patches] == [0.4, 1.0]
    assert [bar.get_hatch() for bar in ax.patches] == [None, "//"]
    assert ax.collections[0].get_segments()[0][:, 0].tolist() == pytest.approx([0.3, 0.5])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["embedding", "copy"]
    assert ax.get_xlabel() == "Spearman's correlation of ranks (3 cells, masked)"


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_reconstruction_is_refused():
    with pytest.raises(TypeError, match="A RankReconstruction is drawn. Got int"):
        pl.reconstruction(3)
