"""The refit after a training: when it is refused; what it reads is in ``test_training``."""

from collections.abc import Callable

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
