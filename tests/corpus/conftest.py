"""A tiny corpus of two files."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from anndata import AnnData


@pytest.fixture(scope="session")
def cell_files(make_cells: "Callable[..., AnnData]", tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Write two h5ad files of 60 and 45 cells; the last 5 cells of the second are the first 5 of the first."""
    import anndata

    folder = tmp_path_factory.mktemp("cells")
    first, second = make_cells(), make_cells(40, seed=1)
    both = anndata.concat([second, first[:5]], merge="same", index_unique="-")
    paths = [folder / "first.h5ad", folder / "second.h5ad"]
    first.write_h5ad(paths[0])
    both.write_h5ad(paths[1])
    return paths
