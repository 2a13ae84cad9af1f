"""Groups of cells: in the order that the column has, and numbers by size."""

import pandas as pd
import pytest
from anndata import AnnData

from genemamba_sc.tl._cell_groups import cell_groups


@pytest.mark.parametrize(
    ("column", "names", "codes"),
    [
        ([10, 2, 0, 2], ["0", "2", "10"], [2, 1, 0, 1]),
        ([10.0, 2.0, 0.0, 2.5], ["0", "2", "2.5", "10"], [3, 1, 0, 2]),
        (["b", "a", "b", "a"], ["a", "b"], [1, 0, 1, 0]),
        (pd.Categorical(["10", "2", "2", "10"], categories=["0", "2", "10"]), ["2", "10"], [1, 0, 0, 1]),
        (pd.Categorical(["T", "B", "B", "T"], categories=["T", "B"]), ["T", "B"], [0, 1, 1, 0]),
    ],
    ids=["integers", "floats", "texts", "clusters", "categories"],
)
@pytest.mark.filterwarnings("ignore:A mean needs several cells")
def test_groups_have_the_order_of_the_column(column, names, codes):
    adata = AnnData(obs=pd.DataFrame({"kind": column}, index=list("abcd")))
    found, numbers = cell_groups(adata, "kind")
    assert (found, numbers.tolist()) == (names, codes)
