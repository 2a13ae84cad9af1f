"""Write the cells and reference embeddings of ``genemamba selftest`` beside a checkpoint; after every new training.

python benchmarks/pretraining/write_selftest.py src/genemamba_sc/weights/mini

The cells are from pbmc68k_reduced (10x Genomics; Zheng et al., 2017), which scanpy carries; nothing is downloaded.
The embeddings are computed in float64 by the reference recurrence.
"""

import argparse
from pathlib import Path

import numpy as np
import scanpy as sc
from scipy import sparse

from genemamba_sc import read_pretrained
from genemamba_sc.checks import write_reference_cells
from genemamba_sc.data import query_source, to_linear


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the checkpoint")
    parser.add_argument("--cells", type=int, default=16, help="cells to keep (default: %(default)s)")
    arguments = parser.parse_args()
    pretrained = read_pretrained(arguments.folder)
    adata = sc.datasets.pbmc68k_reduced().raw.to_adata()
    source = query_source(adata, pretrained.vocabulary, pretrained.max_len, {})
    linear = to_linear(source.reader.read(np.arange(source.n_obs), canonical=True), source.expression)
    path = write_reference_cells(arguments.folder, sparse.csr_matrix(linear), source.columns, arguments.cells)
    print(f"{path}: {arguments.cells} cells, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
