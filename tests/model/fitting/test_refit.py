"""The refit after a training: when it is refused; what it reads is in ``test_training``."""

from collections.abc import Callable

import numpy as np
import pytest
from anndata import AnnData

from genemamba_sc import GeneMambaModel

Cells = Callable[..., AnnData]
Fit = Callable[..., GeneMambaModel]


@pytest.mark.parametrize(
    ("refit", "error", "message"),
    [("False", TypeError, "must be True, False or None"), (True, ValueError, "no cell validates")],
)
def test_a_refit_that_cannot_be_is_refused(
    make_cells: Cells, fit: Fit, refit: object, error: type[Exception], message: str, unchecked: None
):
    with pytest.raises(error, match=message):
        fit(make_cells(), max_epochs=0, train_size=1.0, refit=refit)


@pytest.fixture
def without_monocytes(make_cells: Cells) -> list[np.ndarray]:
    """A split of 300 cells that validates all monocytes, and some of the others."""
    validates = (np.arange(300) % 3 == 2) | (np.arange(300) % 10 == 0)
    return [np.flatnonzero(~validates), np.flatnonzero(validates)]


def test_a_type_that_the_refit_adds_ends_the_calibration(
    make_cells: Cells, fit: Fit, without_monocytes: list[np.ndarray]
):
    split = {"datasplitter_kwargs": {"external_indexing": without_monocytes}, "max_epochs": 0}
    kept = fit(make_cells(300), **split, refit=False)
    # What the model says of its calibration cells is true of it: it never says monocyte.
    assert "monocyte" not in set(kept.predict_celltype()) and len(kept.calibration_.labels) == 120
    with pytest.warns(
        UserWarning, match=r"of the types \['monocyte'\], which the model knows since the refit and did not"
    ):
        model = fit(make_cells(300), **split, refit=True)
    assert np.mean(model.predict_celltype() == "monocyte") == pytest.approx(1 / 3, abs=0.05)
    assert model.calibration_ is None
    model.calibrate(make_cells(600)[300:].copy(), "cell_type")
    assert model.predict_celltype(return_sets=True)[1].coverage == 0.9


def test_a_refit_that_adds_no_type_keeps_the_calibration(make_cells: Cells, fit: Fit, recwarn: pytest.WarningsRecorder):
    model = fit(make_cells(300), max_epochs=0, refit=True)
    assert len(model.calibration_.labels) == 30 and not [w for w in recwarn if "dropped" in str(w.message)]
