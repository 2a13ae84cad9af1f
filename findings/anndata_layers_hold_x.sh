#!/usr/bin/env bash
# AnnData.layers of anndata 0.13: what its keys are, and what a loop over them does.
#
# Guess:  layers holds the matrices beside X, as it always did: none in a new object, and `for name in list(adata.layers): del
#         adata.layers[name]` takes these away and leaves X.
# Truth:  since 0.13 X itself is the layer whose key is None. A new object has one layer; sorted(adata.layers) raises TypeError
#         where there is another; the loop sets X to None, without a word, where 0.12 keeps it. layers.clear() keeps X in both.
#         None stands first in an object made in memory and last in one that was read whole, so the order of keys is no help either.
# Seen:   anndata 0.13.4 on Python 3.12, beside 0.12.19 on Python 3.11. Source: running them.
#
# Prints what each version does, and fails if that changes. Needs a network to install; PYTHON names the interpreter (3.12 or newer).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/run.py" <<'PY'
import sys
import warnings

warnings.filterwarnings("ignore")
import anndata as ad
import numpy as np

is_new = ad.__version__ == "0.13.4"
adata = ad.AnnData(np.ones((3, 2), dtype=np.float32))
fresh = list(adata.layers)
adata.layers["counts"] = adata.X.copy()
adata.write_h5ad(sys.argv[1])
orders = [list(adata.layers), list(ad.read_h5ad(sys.argv[1]).layers)]
try:
    sorted(adata.layers)
    sorting = "sorts"
except TypeError:
    sorting = "TypeError"
cleared = adata.copy()
cleared.layers.clear()
looped = adata.copy()
for name in list(looped.layers):
    del looped.layers[name]
found = (fresh, orders, sorting, cleared.X is None, looped.X is None)
print(f"anndata {ad.__version__}: new {fresh}, in memory and read {orders}, sorted: {sorting}")
print(f"X is None after layers.clear(): {found[3]}; after deleting every key: {found[4]}")
old = ([], [["counts"], ["counts"]], "sorts", False, False)
new = ([None], [[None, "counts"], ["counts", None]], "TypeError", False, True)
assert found == (new if is_new else old), "this has changed"
PY
for version in 0.12.19 0.13.4; do
  "${PYTHON:-python3}" -m venv "$folder/$version"
  "$folder/$version/bin/python" -m pip install -qq "anndata==$version"
  "$folder/$version/bin/python" "$folder/run.py" "$folder/$version.h5ad"
done
