"""What users do with files, each with what it leaves and how that is recognised."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

import genemamba_sc as gm
from genemamba_sc.cli import main
from genemamba_sc.corpus import TokenCorpus, build_corpus

CPU = ["--accelerator", "cpu"]
OLD, NEW = "old", "new"


@dataclass(frozen=True)
class Action:
    """Something a user does.

    Parameters
    ----------
    name
        For the table.
    run
        Does it: from a folder of inputs, into one of outputs, as the old or the new version; an exit code or None.
    outputs
        Name of each output, and what tells its content: a fingerprint, or FileNotFoundError.
    replaces
        Whether it may be asked for where an older version stands.
    """

    name: str
    run: Callable[[Path, Path, str], object]
    outputs: dict[str, Callable[[Path], str]]
    replaces: bool = True


def fingerprint(*parts: Any) -> str:
    """Tell contents apart."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return digest.hexdigest()


def make_cells(seed: int, n_obs: int = 90, n_vars: int = 60) -> AnnData:
    """Draw cells of three types."""
    rng, types = np.random.default_rng(seed), np.arange(n_obs) % 3
    rates = np.tile(np.random.default_rng(0).gamma(2.0, 0.6, n_vars), (n_obs, 1))
    for kind in range(3):
        rates[types == kind, 5 * kind : 5 * kind + 5] += 8
    obs = pd.DataFrame({"cell_type": np.array(["T cell", "B cell", "monocyte"])[types]}, index=map(str, range(n_obs)))
    var = pd.DataFrame(index=[f"ENSG{i:011d}" for i in range(1, n_vars + 1)])
    return AnnData(sparse.csr_matrix(rng.poisson(rates).astype(np.float32)), obs=obs, var=var)


def make_inputs(store: Path) -> None:
    """Write cells, two models and a corpus, which the actions read."""
    for name, seed in (("reference", 0), ("query", 1), ("more", 2)):
        make_cells(seed).write_h5ad(store / f"{name}.h5ad")
    for version in (OLD, NEW):
        train(store, store, version)
        (store / "trained").rename(store / f"model-{version}")
    build_corpus([store / "reference.h5ad", store / "more.h5ad"], store / "cells")


# --------------------------------------------------------------------------- what is done


def seed_of(version: str) -> str:
    """Give the versions other seeds, so that they can be told apart."""
    return "0" if version == OLD else "1"


def train(store: Path, out: Path, version: str) -> object:
    """Train on a reference, save the model, annotate a query."""
    options = ["--labels-key", "cell_type", "--max-epochs", "1", "--seed", seed_of(version), *CPU]
    files = [str(store / "query.h5ad"), str(out / "annotated.h5ad")]
    more = ["--reference", str(store / "reference.h5ad"), "--save-model", str(out / "trained")]
    return main(["annotate", *files, *more, *options])


def annotate(store: Path, out: Path, version: str) -> object:
    """Annotate a query by a saved model."""
    files = [str(store / "query.h5ad"), str(out / "annotated.h5ad")]
    return main(["annotate", *files, "--model", str(store / f"model-{version}"), *CPU])


def embed(store: Path, out: Path, version: str, name: str = "embedded.h5ad") -> object:
    """Embed a query by a saved model."""
    return main(["embed", str(store / "query.h5ad"), str(out / name), "--model", str(store / f"model-{version}"), *CPU])


def embed_to_zarr(store: Path, out: Path, version: str) -> object:
    """Do the same into a folder."""
    return embed(store, out, version, "embedded.zarr")


def save(store: Path, out: Path, version: str) -> None:
    """Load a model and save it elsewhere."""
    load_model(store / f"model-{version}").save(out / "model", overwrite=True)


def tokenize(store: Path, out: Path, version: str) -> object:
    """Turn cells into a corpus, as a command."""
    files = [str(store / f"{name}.h5ad") for name in ("reference", "query", "more")]
    return main(["tokenize", *files, str(out / "tokens"), "--jobs", "1", "--max-len", "40"])


def build(store: Path, out: Path, version: str) -> None:
    """Turn cells into a corpus, as a function, with given genes."""
    vocabulary = gm.GeneVocabulary.from_anndata(anndata.read_h5ad(store / "reference.h5ad"))
    build_corpus([store / "query.h5ad", store / "more.h5ad"], out / "corpus", vocabulary=vocabulary, max_len=50)


def pretrain(store: Path, out: Path, version: str) -> object:
    """Pretrain; where a run was ended, the same command goes on."""
    options = "--max-steps 12 --save-every 2 --token-budget 512 --validation-cells 12 --ema 0.9 --log-every 2".split()
    return main(["pretrain", str(store / "cells"), str(out / "weights"), *options, *CPU])


# --------------------------------------------------------------------- what is recognised


def load_model(folder: Path) -> gm.GeneMambaModel:
    """Load a model without cells."""
    return gm.GeneMambaModel.load(folder, adata=False, accelerator="cpu")


def look_at_model(folder: Path) -> str:
    """Fingerprint what a model says of cells."""
    model, cells = load_model(folder), make_cells(9, 12)
    return fingerprint(model.get_latent_representation(cells), model.predict_celltype(cells, soft=True).to_numpy())


def look_at_cells(path: Path) -> str:
    """Fingerprint embedding and predictions of a file."""
    if not path.exists():
        raise FileNotFoundError(path)
    adata = anndata.read_zarr(path) if path.suffix == ".zarr" else anndata.read_h5ad(path)
    columns = {name: adata.obs[name].astype(str).to_list() for name in sorted(adata.obs)}
    return fingerprint(np.asarray(adata.obsm["X_genemamba"]), columns, adata.X.toarray())


def look_at_corpus(folder: Path) -> str:
    """Fingerprint the tokens of a corpus."""
    corpus = TokenCorpus.open(folder)
    every = np.arange(corpus.n_cells)
    return fingerprint(corpus.identity(), corpus.tokens(every).ids, corpus.cell_hashes(every).exact)


def look_at_weights(folder: Path) -> str:
    """Fingerprint pretrained weights."""
    if not folder.exists():
        raise FileNotFoundError(folder)
    found = gm.read_pretrained(folder)
    parts = {**found.encoder, **{f"head.{name}": tensor for name, tensor in found.gene_head.items()}}
    return fingerprint(*(part for name in sorted(parts) for part in (name, parts[name].numpy())))


ACTIONS = (
    Action("train", train, {"trained": look_at_model, "annotated.h5ad": look_at_cells}),
    Action("annotate", annotate, {"annotated.h5ad": look_at_cells}),
    Action("embed", embed, {"embedded.h5ad": look_at_cells}),
    Action("embed to zarr", embed_to_zarr, {"embedded.zarr": look_at_cells}),
    Action("save", save, {"model": look_at_model}),
    Action("tokenize", tokenize, {"tokens": look_at_corpus}, replaces=False),
    Action("build corpus", build, {"corpus": look_at_corpus}, replaces=False),
    Action("pretrain", pretrain, {"weights": look_at_weights}, replaces=False),
)
