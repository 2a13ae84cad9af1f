#!/usr/bin/env bash
# What slices that count from the end give of a sparse matrix that anndata reads from disk.
#
# Guess:  a view of a backed AnnData is read as one in memory is: adata[-2:] has the last two cells, adata[::-1] all of them, turned round;
#         and X of a view has as many rows as the view.
# Truth:  for CSR, [-2:] fails ("index pointer size 2 should be 3"), though the view says that it has two cells. [::-1] gives X of five rows
#         for a view of six: the first cell is missing, without a word, so a mean over X is one of other cells. (anndata 0.12.19 raises there.)
#         For CSC the former is right and the latter as for CSR. A list of the same rows is right everywhere: adata[[4, 5]].
#         Rows named by numbers, or adata[...] after to_memory(), are the way out.
# Seen:   anndata 0.13.4, scipy 1.18.1, h5py 3.16, Python 3.13. Source: running it on a file that write_h5ad has just written.
#
# Prints the shape of each view and of its X, and fails if that changes. Needs a network to install; PYTHON names the interpreter (3.12 or newer).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq "anndata==0.13.4" "scipy==1.18.1"
cat >"$folder/run.py" <<'PY'
import sys
import warnings

warnings.filterwarnings("ignore")
import anndata
import numpy as np
from scipy import sparse

x = np.arange(24.0).reshape(6, 4) + 1
SEEN = {
    ("csr", "[-2:]"): "ValueError",
    ("csr", "[::-1]"): "5 rows",
    ("csr", "[[4, 5]]"): "right",
    ("csc", "[-2:]"): "right",
    ("csc", "[::-1]"): "5 rows",
    ("csc", "[[4, 5]]"): "right",
}
SELECTIONS = {"[-2:]": np.s_[-2:], "[::-1]": np.s_[::-1], "[[4, 5]]": [4, 5]}


def told(view, expected):
    try:
        found = view.X.toarray()
    except ValueError:
        return "ValueError"
    if found.shape != expected.shape:
        return f"{len(found)} rows"
    return "right" if (found == expected).all() else "wrong values"


files = {}
for kind, matrix in (("csr", sparse.csr_matrix(x)), ("csc", sparse.csc_matrix(x))):
    anndata.AnnData(matrix).write_h5ad(f"{sys.argv[1]}/{kind}.h5ad")
    files[kind] = anndata.read_h5ad(f"{sys.argv[1]}/{kind}.h5ad", backed="r")
changed = False
for (kind, name), seen in SEEN.items():
    view = files[kind][SELECTIONS[name]]
    found = told(view, x[SELECTIONS[name]])
    print(f"{kind} {name}: a view of {view.n_obs} cells, X is {found}")
    changed |= found != seen
raise SystemExit(changed)
PY
"$folder/venv/bin/python" "$folder/run.py" "$folder"
