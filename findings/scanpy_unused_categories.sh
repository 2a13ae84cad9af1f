#!/usr/bin/env bash
# A category that no cell has: which functions of scanpy take it.
#
# Guess:  labels keep the categories of the reference, so that order and colours stay the same from query to query. scanpy groups
#         with observed=True and drops the empty group, in all its functions alike.
# Truth:  sc.pl.heatmap and sc.pl.tracksplot draw and sc.get.aggregate drops the group, but sc.pl.dotplot, sc.pl.matrixplot and
#         sc.pl.stacked_violin raise KeyError "['w'] not in index", and sc.tl.rank_genes_groups raises ValueError that says of the group
#         without any cell that it has "only one sample". So a package that hands labels to scanpy keeps the order of the
#         categories and drops those that do not occur.
# Seen:   scanpy 1.11.5 (Python 3.11) and 1.12.4 (Python 3.13), anndata 0.12.19 and 0.13.4. Source: running them.
#
# Prints what each function did, and fails if that changes. Needs a network to install; PYTHON names the interpreter (3.12 or newer).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq "scanpy==1.12.4" "anndata==0.13.4"
cat >"$folder/run.py" <<'PY'
import warnings

warnings.filterwarnings("ignore")
import matplotlib

matplotlib.use("Agg")
import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc

adata = ad.AnnData(np.random.default_rng(0).poisson(1.0, (60, 5)).astype(np.float32))
adata.var_names = list("ABCDE")
adata.obs["type"] = pd.Categorical(["x", "y", "z"] * 20, categories=["x", "w", "y", "z"])


def outcome(function, *arguments, **choices):
    try:
        result = function(*arguments, **choices)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return f"groups {result.obs_names.tolist()}" if isinstance(result, ad.AnnData) else "done"


for name in ("heatmap", "tracksplot", "dotplot", "matrixplot", "stacked_violin"):
    print(f"pl.{name}:", outcome(getattr(sc.pl, name), adata, list("ABC"), groupby="type", show=False))
print("get.aggregate:", outcome(sc.get.aggregate, adata, "type", "mean"))
print("tl.rank_genes_groups:", outcome(sc.tl.rank_genes_groups, adata, "type", method="t-test"))
PY
"$folder/venv/bin/python" "$folder/run.py" 2>/dev/null | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
pl.heatmap: done
pl.tracksplot: done
pl.dotplot: KeyError: "['w'] not in index"
pl.matrixplot: KeyError: "['w'] not in index"
pl.stacked_violin: KeyError: "['w'] not in index"
get.aggregate: groups ['x', 'y', 'z']
tl.rank_genes_groups: ValueError: Could not calculate statistics for groups w since they only contain one sample.
SEEN
