"""A saved model and a pretrained folder travel between sets of versions: write here, read there, same embeddings.

python .ci/exchange.py write FOLDER
python .ci/exchange.py read FOLDER
python .ci/exchange.py versions
"""

import os
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

# Versions of torch may add numbers up in another order; nothing else may move an embedding.
TOLERANCE = 1e-5
SHOWN = ("anndata", "scanpy", "scvi-tools", "numpy", "pandas", "scipy", "scikit-learn", "torch", "numba", "zarr")


def counts() -> np.ndarray:
    """90 cells of three kinds and 40 genes, by whole numbers alone: the same on every stack."""
    cell, gene = np.arange(90)[:, None], np.arange(40)[None]
    return ((cell * 7 + gene * 13 + cell * gene * 5) % 11 + 12 * (gene % 3 == cell % 3)).astype(np.float32)


def cells():
    """The cells, with names of types."""
    import anndata as ad
    from scipy import sparse

    adata = ad.AnnData(sparse.csr_matrix(counts()))
    adata.var_names = [f"ENSG{i:011d}" for i in range(1, 41)]
    adata.obs["cell_type"] = [("B cell", "T cell", "monocyte")[i % 3] for i in range(90)]
    return adata


def answers(model, adata) -> dict[str, np.ndarray]:
    """What a saved model says about the cells."""
    probabilities = np.asarray(model.predict_celltype(adata, soft=True), dtype=np.float32)
    return {"latent": model.get_latent_representation(adata, key_added=None), "probabilities": probabilities}


def encoded(folder: Path, adata) -> np.ndarray:
    """The embedding of a pretrained folder."""
    import genemamba_sc as gm

    gm.GeneMambaModel.setup_anndata(adata)
    model = gm.GeneMambaModel.from_pretrained(str(folder), adata=adata)
    return model.get_latent_representation(adata, key_added=None)


def write(folder: Path) -> None:
    """Train a small model, save it both ways, and what both say."""
    import scvi

    import genemamba_sc as gm

    scvi.settings.seed = 0
    adata = cells()
    gm.GeneMambaModel.setup_anndata(adata, labels_key="cell_type")
    model = gm.GeneMambaModel(adata, d_model=16, n_layer=1)
    model.train(max_epochs=2, accelerator="cpu", enable_progress_bar=False)
    model.save(folder / "model", overwrite=True)
    model.save_pretrained(folder / "pretrained")
    found = answers(model, cells()) | {"pretrained": encoded(folder / "pretrained", cells())}
    for name, value in found.items():
        np.save(folder / f"{name}.npy", value, allow_pickle=False)


def read(folder: Path) -> str:
    """The largest difference between what both say here and what was written; too large a one is an error."""
    import genemamba_sc as gm

    model = gm.GeneMambaModel.load(folder / "model", adata=False, accelerator="cpu")
    found = answers(model, cells()) | {"pretrained": encoded(folder / "pretrained", cells())}
    apart = {name: float(np.abs(np.load(folder / f"{name}.npy") - value).max()) for name, value in found.items()}
    if max(apart.values()) > TOLERANCE:
        sys.exit(f"Saved files must mean the same on every stack, to {TOLERANCE:g}. Got {apart}.")
    return "equal" if max(apart.values()) == 0 else f"equal to {max(apart.values()):.0e}"


def main() -> None:
    """Do what the command line says."""
    if sys.argv[1:] == ["versions"]:
        print(", ".join(f"{name} {version(name)}" for name in SHOWN))
    elif len(sys.argv) == 3 and sys.argv[1] in ("write", "read"):
        folder = Path(sys.argv[2])
        os.makedirs(folder, exist_ok=True)
        print(write(folder) or "written") if sys.argv[1] == "write" else print(read(folder))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
