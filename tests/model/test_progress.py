"""Steps with a name before the epochs."""

import pytest
import scvi

from genemamba_sc.model._progress import watched


@pytest.mark.parametrize(
    ("show", "style", "drawn"),
    [(True, "tqdm", True), (False, "tqdm", False), (True, None, False)],
    ids=["drawn", "not asked for", "scvi-tools draws none"],
)
def test_a_bar_is_drawn_where_it_may_be_and_yields_what_it_is_given(capsys, monkeypatch, show, style, drawn):
    monkeypatch.setattr(scvi.settings, "_pbar_style", style)
    assert list(watched("Fitting marker genes", show=show)([3, 1, 2])) == [3, 1, 2]
    assert ("Fitting marker genes" in "".join(capsys.readouterr())) == drawn
