#!/usr/bin/env bash
# What scib-metrics' silhouette_batch gives cells whose batches are dealt out by chance.
#
# Guess:  batches that nothing tells apart score 1, or nearly; whatever their number and the width of the embedding. An embedding
#         with a batch effect scores less than one without.
# Truth:  it is one minus the mean size of the silhouettes, and a silhouette compares a cell's own batch with the nearest of all others.
#         Of 40 batches without any effect one is always nearer than the own by chance: nearly all silhouettes are below zero, and
#         the score is .97 in 30 dimensions, .94 in 10 and .84 in 2 (of two batches .99 in all). So 30 dimensions with a batch effect
#         (shifts of .3 standard deviations per dimension) score as much as without, and more than 10 without. LISI says which is
#         which. For many donors, compare with the score of the same embedding where batches are dealt out anew within each type.
# Seen:   scib-metrics 0.5.10, Python 3.11. Source: running it.
#
# Prints scores, and fails if they change by more than .005. Needs a network to install; PYTHON names the interpreter (3.11 or newer).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq "scib-metrics==0.5.10"
cat >"$folder/run.py" <<'PY'
import warnings

warnings.filterwarnings("ignore")
import numpy as np
import scib_metrics
from scib_metrics.nearest_neighbors import pynndescent

SEEN = {
    ("ASW", 2, 2, 0.0): 0.993,
    ("ASW", 10, 2, 0.0): 0.995,
    ("ASW", 30, 2, 0.0): 0.996,
    ("ASW", 2, 40, 0.0): 0.837,
    ("ASW", 10, 40, 0.0): 0.942,
    ("ASW", 30, 40, 0.0): 0.967,
    ("ASW", 30, 40, 0.3): 0.967,
    ("iLISI", 10, 40, 0.0): 0.238,
    ("iLISI", 30, 40, 0.0): 0.232,
    ("iLISI", 30, 40, 0.3): 0.212,
}


def scored(what, width, n_batches, shift):
    rng = np.random.default_rng(0)
    batches = np.repeat(np.arange(n_batches), 2_000 // n_batches)
    cells = rng.normal(size=(2_000, width)) + shift * rng.normal(size=(n_batches, width))[batches]
    cells = cells.astype(np.float32)
    if what == "ASW":
        return float(scib_metrics.silhouette_batch(cells, np.zeros(2_000, int), batches))
    return float(scib_metrics.ilisi_knn(pynndescent(cells, n_neighbors=90, random_state=0), batches))


changed = False
for (what, width, n_batches, shift), seen in SEEN.items():
    value = scored(what, width, n_batches, shift)
    print(f"{what} of {n_batches} batches in {width} dimensions, shifts {shift}: {value:.3f}")
    changed |= abs(value - seen) > 0.005
raise SystemExit(changed)
PY
"$folder/venv/bin/python" "$folder/run.py" 2>/dev/null
