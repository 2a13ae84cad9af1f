"""The readers of collections of cells: every kind that one call reads, from its structure to its tokens."""

from pathlib import Path
from typing import Any

import numpy as np
from cell_samples import matrix_folder, stored_zarr, tenx_h5, tiny_cells, tiny_mudata
from damaged_stores import damaged_hdf5
from mutations import damaged_bytes, damaged_json, gunzipped
from reader import Reader, one_file
from samples import OLD

from genemamba_sc import GeneVocabulary
from genemamba_sc.corpus._sources import Reading, examine
from genemamba_sc.data import RankTokenizer, read_cells, to_linear
from genemamba_sc.data.cells._cell_files import open_cells


def cells_of(path: Path) -> Any:
    """Read a file as the corpus does, from its structure to its tokens."""
    genes = GeneVocabulary.from_tsv(OLD / "corpus" / "genes.tsv")
    source = examine(path, genes, Reading())
    with open_cells(path) as cells:
        try:
            block = to_linear(cells.reader.read(np.arange(cells.reader.n_obs)), source.expression)
            tokens = RankTokenizer(genes, 64)(block, source.columns)
        except (ValueError, OSError) as error:  # as corpus._pieces names the file
            raise ValueError(f"{path}: {error}") from error
    known = tokens.ids[tokens.ids != 1]
    assert not known.size or 2 <= known.min() <= known.max() < genes.cls_id
    return tokens


def of_cells(name: str, place: str, file: str, make: Any, damage: Any) -> tuple[Reader, Reader]:
    """Give the two readers of a kind: that of the structure and the rows, and that of the whole."""
    return (
        Reader(f"{name}, opened", file, lambda folder: cells_of(folder / place), damage, make),
        Reader(f"{name}, read whole", file, lambda folder: read_cells(folder / place), damage, make),
    )


MTX = "filtered"
CELLS = (
    *of_cells("h5ad", "cells.h5ad", "cells.h5ad", one_file("cells.h5ad", tiny_cells), damaged_hdf5),
    *of_cells("h5mu", "cells.h5mu", "cells.h5mu", one_file("cells.h5mu", tiny_mudata), damaged_hdf5),
    *of_cells("10x h5", "cells.h5", "cells.h5", one_file("cells.h5", tenx_h5), damaged_hdf5),
    of_cells("10x matrix.mtx.gz", MTX, f"{MTX}/matrix.mtx.gz", one_file(MTX, matrix_folder), gunzipped)[0],
    of_cells("10x features.tsv.gz", MTX, f"{MTX}/features.tsv.gz", one_file(MTX, matrix_folder), gunzipped)[0],
    of_cells("10x barcodes.tsv.gz", MTX, f"{MTX}/barcodes.tsv.gz", one_file(MTX, matrix_folder), gunzipped)[0],
    *of_cells("zarr, root", "cells.zarr", "cells.zarr/zarr.json", one_file("cells.zarr", stored_zarr), damaged_json),
    *of_cells(
        "zarr, rows of X", "cells.zarr", "cells.zarr/X/indptr/c/0", one_file("cells.zarr", stored_zarr), damaged_bytes
    ),
    *of_cells(
        "zarr, values of X", "cells.zarr", "cells.zarr/X/data/c/0", one_file("cells.zarr", stored_zarr), damaged_bytes
    ),
)  # fmt: skip

# Where bits of the structure of a file are flipped, HDF5 itself may not come back: not in the suite.
LONG_CELLS = (
    Reader("h5ad, bytes changed", "cells.h5ad", lambda folder: cells_of(folder / "cells.h5ad"), damaged_bytes,
           one_file("cells.h5ad", tiny_cells)),
)  # fmt: skip
