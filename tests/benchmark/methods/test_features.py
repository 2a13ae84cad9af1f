"""The choice of genes for baselines says what it needs."""

import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData

from genemamba_sc.benchmark.methods import _features
from genemamba_sc.benchmark.methods._features import genes_by_batch, variable_genes


@pytest.mark.parametrize("choose", [variable_genes, genes_by_batch])
def test_where_no_curve_can_be_fitted_the_need_for_cells_is_named(choose, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_curve(*parts: object, **options: object) -> None:
        raise ValueError(b"reciprocal condition number 1.2e-14")

    monkeypatch.setattr(_features, "VARIABLE_GENES", 2)
    monkeypatch.setattr(sc.pp, "highly_variable_genes", without_curve)

    told = r"2 variable genes \(seurat_v3\) needs more cells.*\(reciprocal condition number 1.2e-14\). Got 5 cells"
    with pytest.raises(ValueError, match=told):
        choose(AnnData(np.ones((5, 3), dtype=np.float32)))
