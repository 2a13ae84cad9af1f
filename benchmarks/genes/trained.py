"""A model of the package's defaults on four fifths of a set, and the fifth that it has not seen."""

import argparse
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import scvi

import genemamba_sc as gm
from genemamba_sc.benchmark import LABEL, column, stratified_split

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "annotation"))
from sets import load_set

MOST_CELLS = 3000


def split_set(name: str, most: int, seed: int) -> tuple[ad.AnnData, ad.AnnData]:
    """Training and test cells of a set; of a larger set, ``most`` cells at random are kept."""
    adata = load_set(name)
    rows = np.random.default_rng(seed).permutation(adata.n_obs)[:most]
    adata = adata[np.sort(rows)].copy()
    split = stratified_split(column(adata, LABEL), seed)
    return adata[split.train].copy(), adata[split.test].copy()


def trained_model(name: str, train: ad.AnnData, seed: int, work: Path, most: int) -> gm.GeneMambaModel:
    """Train on the cells, or read the model of an earlier run from ``work``."""
    folder = work / f"{name}_{most}_{seed}"
    if not folder.exists():
        scvi.settings.seed = seed
        genes = {"gene_id_key": "ensembl"} if "ensembl" in train.var else {}
        gm.GeneMambaModel.setup_anndata(train, labels_key=LABEL, **genes)
        model = gm.GeneMambaModel(train)
        model.train(accelerator="cpu", enable_progress_bar=False)
        model.save(folder)
    return gm.GeneMambaModel.load(folder, adata=False, accelerator="cpu")


def asked_for(description: str | None, sets: tuple[str, ...]) -> argparse.Namespace:
    """What the command line asks of a script that uses these models; the folder that keeps them is there then."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(sets))
    parser.add_argument("--cells", type=int, default=MOST_CELLS, help="at most so many cells of a set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("runs/genes"), help="folder that keeps the models")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    return arguments
