"""Give a checkpoint its card (data, limits, evaluation of its twins), and store its gene table in half precision.

python benchmarks/pretraining/finish.py WEIGHTS --evaluation benchmarks/pretraining/results/pretraining.jsonl
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from corpus import read_set
from mini import sets_without

from genemamba_sc import read_pretrained, write_pretrained

METHODS = (
    "mini", "start_denoised", "start", "start_bag", "random", "hvg_pca", "hvg_pca_unscaled_20", "own_spectral", "lr",
)  # fmt: skip
INTENDED = [
    "Embeddings of human blood and immune cells without training, and a start for training with few labels.",
    "A first run of this package, and tests of an installation.",
]
LIMITS = [
    "Trained on 42,084 cells, nearly all of them blood cells: other tissues were not seen.",
    "The table below is of encoders trained in the same way without the set they were asked about. This one has seen "
    "all of these sets: genemamba_sc.check_contamination tells whether it has seen yours.",
    "It does not remove batch effects, and knows human genes only.",
    "Where a study has thousands of cells, labelled or not, components of these cells tell types as well "
    "(own_spectral, hvg_pca in the table): it is of use where cells are few.",
]


def evaluation_of(path: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        {
            "set left out": row["target"],
            "method": row["method"],
            **{name: round(row[name], 3) for name in ("knn", "asw") if name in row},
            **{
                f"{100 * share:g} % of the labels": f"{row[f'probe_{share:g}']:.3f} / {row[f'probe_f1_{share:g}']:.3f}"
                for share in (0.01, 0.1, 1.0)
                if f"probe_{share:g}" in row
            },
        }
        for row in rows
        if row["method"] in METHODS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--evaluation", type=Path, required=True)
    options = parser.parse_args()
    found = read_pretrained(options.folder)
    sets = {name: read_set(name) for name in sets_without(None)}
    about = {
        "title": "GeneMamba mini",
        "license": "bsd-3-clause",
        "training_data": [
            {"set": name, "cells": adata.n_obs, "genes": adata.n_vars, "source": str(adata.uns.get("source", ""))}
            for name, adata in sets.items()
        ],
        "intended_use": INTENDED,
        "limits": LIMITS,
    }
    encoder = {
        name: tensor.to(torch.float16) if name == "embeddings.weight" else tensor
        for name, tensor in found.encoder.items()
    }
    product = replace(
        found, encoder=encoder, manifest={**found.manifest, **about}, evaluation=evaluation_of(options.evaluation)
    )
    write_pretrained(options.folder, product, overwrite=True)


if __name__ == "__main__":
    main()
