#!/usr/bin/env bash
# Whether scanpy.pp.neighbors works with the newest pynndescent, and from how many cells on that matters.
#
# Guess:  a new environment with scanpy makes neighbour graphs of any number of cells: scanpy states what it needs, and a test on a
#         few thousand cells would show a conflict.
# Truth:  scanpy needs pynndescent through umap-learn, with a lower bound only. pynndescent 0.7.0 keeps distances in a scipy
#         sparse array (csr_array), where 0.6 had a matrix, and scanpy 1.12.4 (and 1.11.5) asks it for `getnnz`, which arrays do
#         not have. Fewer than 8,192 cells are compared by scikit-learn, so small tests pass; with 8,192 the call fails with an
#         AttributeError. With pynndescent 0.6.0 it works. A package that leads its users to scanpy.pp.neighbors has to bound
#         pynndescent, or to test with more than 8,191 cells.
# Seen:   scanpy 1.12.4, pynndescent 0.7.0 and 0.6.0, scipy 1.18.1, Python 3.12. Source: running it.
#
# Prints what each pair does, and fails if that changes. Needs a network to install; PYTHON names the interpreter (3.12 or newer).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
cat >"$folder/run.py" <<'PY'
import sys
import warnings

warnings.filterwarnings("ignore")
import numpy as np
import scanpy as sc
from anndata import AnnData

version, *expected = sys.argv[1:]
changed = False
for n_cells, seen in zip((8_191, 8_192), expected, strict=True):
    cells = AnnData(obsm={"X_pca": np.random.default_rng(0).normal(size=(n_cells, 20)).astype(np.float32)})
    try:
        sc.pp.neighbors(cells, use_rep="X_pca")
        found = "works"
    except AttributeError as error:
        found = str(error).split(". ")[0]
    print(f"pynndescent {version}, {n_cells:,} cells: {found}")
    changed |= seen not in found
raise SystemExit(changed)
PY
code=0
for pair in "0.6.0|works|works" "0.7.0|works|'csr_array' object has no attribute 'getnnz'"; do
  IFS="|" read -r version small large <<<"$pair"
  "$folder/venv/bin/python" -m pip install -qq "scanpy==1.12.4" "pynndescent==$version" "scipy==1.18.1"
  "$folder/venv/bin/python" "$folder/run.py" "$version" "$small" "$large" || code=1
done
exit $code
