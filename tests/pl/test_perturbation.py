"""Effects of perturbed genes as dots, the largest first, beside their baselines."""

from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")

from genemamba_sc import pl, tl


def result(effect):
    index = pd.Index(list("ABC"), name="change")
    table = pd.DataFrame({"effect": effect, "mean size of matched genes": [0.1, 0.2, 0.3]}, index)
    return SimpleNamespace(compared=lambda: table)


def test_the_largest_effects_stand_first_beside_their_baseline():
    ax = pl.perturbation(result([0.5, np.nan, -2.0]))
    effect, matched = (dots.get_offsets().tolist() for dots in ax.collections)
    assert (effect, matched) == ([[-2.0, 0.0], [0.5, 1.0]], [[0.3, 0.0], [0.1, 1.0]])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["C", "A"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["effect", "mean size of matched genes"]
    assert ax.get_xlabel() == "change"
    assert len(pl.perturbation(result([0.5, 1.0, -2.0]), n_genes=1).get_yticks()) == 1


@pytest.mark.usefixtures("unchecked")
def test_what_has_no_effect_is_refused():
    with pytest.raises(TypeError, match="A Perturbation is drawn. Got NoneType"):
        pl.perturbation(None)
    with pytest.raises(TypeError, match="A Perturbation is drawn. Got the class Perturbation. Pass what gm.tl.perturb"):
        pl.perturbation(tl.Perturbation)
    with pytest.raises(ValueError, match="No gene of this result has one"):
        pl.perturbation(result([np.nan] * 3))
    with pytest.raises(ValueError, match="n_genes must be at least 1"):
        pl.perturbation(result([1.0] * 3), n_genes=0)
    with pytest.raises(TypeError, match="Effects of a SimpleNamespace are chosen by nothing. Got 'gene'. Leave it out"):
        pl.perturbation(result([1.0] * 3), gene="A")
