#!/usr/bin/env bash
# What becomes of an h5ad that one lab writes with pandas 3 and another reads with pandas 2.
#
# Guess:  anndata either refuses the file or reads it; what it has read, it writes again.
# Truth:  the file of pandas 3 holds its cell names as nullable strings. anndata 0.12 with pandas 2 reads it without a word, and all analysis
#         works. Only write_h5ad at the end fails: it refuses the names that it has read itself, as
#         anndata.settings.allow_write_nullable_strings is False there. Set the switch, or turn the names into objects
#         (adata.obs_names = adata.obs_names.astype(object)), before hours of work and not after them.
# Seen:   anndata 0.13.4 with pandas 3.1.1 writes, anndata 0.12.19 with pandas 2.3.3 reads; Python 3.13. Source: running both.
#
# Prints what each side does, and fails if that changes. Needs a network to install; PYTHON names the interpreter (3.12 or newer).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for side in writer reader; do
  "${PYTHON:-python3}" -m venv "$folder/$side"
done
"$folder/writer/bin/python" -m pip install -qq "anndata==0.13.4" "pandas==3.1.1"
"$folder/reader/bin/python" -m pip install -qq "anndata==0.12.19" "pandas==2.3.3"
"$folder/writer/bin/python" - "$folder" <<'PY'
import sys

import anndata
import numpy as np
import pandas as pd

cells = pd.DataFrame({"n_counts": [10, 20]}, index=["a", "b"])
anndata.AnnData(np.ones((2, 3), dtype=np.float32), obs=cells).write_h5ad(f"{sys.argv[1]}/cells.h5ad")
print(f"anndata {anndata.__version__}, pandas {pd.__version__}: written")
PY
"$folder/reader/bin/python" - "$folder" <<'PY'
import sys
import warnings

warnings.filterwarnings("ignore")
import anndata
import pandas as pd

adata = anndata.read_h5ad(f"{sys.argv[1]}/cells.h5ad")
print(f"anndata {anndata.__version__}, pandas {pd.__version__}: read, names {list(adata.obs_names)} of dtype {adata.obs_names.dtype}")
try:
    adata.write_h5ad(f"{sys.argv[1]}/again.h5ad")
    outcome = "written"
except Exception as error:
    outcome = f"{type(error).__name__}, names the switch: {'allow_write_nullable_strings' in str(error)}"
print(f"write_h5ad of what was read: {outcome}")
adata.obs_names, adata.var_names = (names.astype(object) for names in (adata.obs_names, adata.var_names))
adata.write_h5ad(f"{sys.argv[1]}/objects.h5ad")
print("with names as objects: written")
raise SystemExit(outcome != "RuntimeError, names the switch: True")
PY
