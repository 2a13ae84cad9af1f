"""What the commands do, over the public classes."""

import argparse
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import cast

import anndata
import pandas as pd
import scvi
import torch
from anndata import AnnData
from lightning.fabric.utilities.exceptions import MisconfigurationException
from scvi.model._utils import parse_device_args

from genemamba_sc._constants import CONFIDENCE_KEY, OBSM_KEY, PREDICTION_KEY
from genemamba_sc._files import check_writable, replacing_file
from genemamba_sc._version import __version__
from genemamba_sc.benchmark._demo import run_demo
from genemamba_sc.data import GeneAliases, open_h5ad
from genemamba_sc.model._model import GeneMambaModel
from genemamba_sc.ops import choose_backend
from genemamba_sc.weights._saved_model import check_target, read_model

_PACKAGES = (
    "scvi-tools",
    "scanpy",
    "anndata",
    "torch",
    "lightning",
    "numba",
    "numpy",
    "scipy",
    "pandas",
    "mamba-ssm",
    "scib-metrics",
    "huggingface-hub",
)


def demo(arguments: argparse.Namespace) -> str:
    """Train on scanpy's 700 cells and show what comes out."""
    _check_accelerator(arguments.accelerator)
    scvi.settings.seed = arguments.seed
    report = run_demo(
        Path(arguments.out),
        model_folder=arguments.model,
        max_epochs=arguments.max_epochs,
        accelerator=arguments.accelerator,
        seed=arguments.seed,
    )
    return str(report)


def embed(arguments: argparse.Namespace) -> str:
    """Write the embedding of every cell of an h5ad."""
    _check_early(arguments)
    adata = _read(arguments.input, backed=arguments.embedding_only)
    _check_gene_ids(arguments, adata)
    model = _model_for(arguments, adata)
    latent = model.get_latent_representation(adata, key_added=OBSM_KEY)
    if arguments.embedding_only:
        adata = AnnData(obs=adata.obs.copy(), obsm={OBSM_KEY: latent})
    _write(adata, arguments.output)
    return f"{arguments.output}: obsm[{OBSM_KEY!r}] of {latent.shape[0]} cells × {latent.shape[1]} dimensions"


def annotate(arguments: argparse.Namespace) -> str:
    """Write predicted cell types, their confidence and the embedding of every cell of a query."""
    _check_early(arguments)
    query = _read(arguments.query)
    _check_gene_ids(arguments, query)
    model = _model_for(arguments, None if arguments.reference is None else _read(arguments.reference))
    soft = cast(pd.DataFrame, model.predict_celltype(query, soft=True))
    query.obs[PREDICTION_KEY] = soft.columns.to_numpy()[soft.to_numpy().argmax(axis=1)].astype(str)
    query.obs[CONFIDENCE_KEY] = soft.to_numpy().max(axis=1)
    model.get_latent_representation(query, key_added=OBSM_KEY)
    _write(query, arguments.output)
    counts = query.obs[PREDICTION_KEY].value_counts()
    return "\n".join(f"{name}\t{count}" for name, count in counts.items())


def info(arguments: argparse.Namespace) -> str:
    """Give versions, device, backend and its reason, and what a saved model is."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    choice = choose_backend(device, torch.float32)
    lines = [
        f"genemamba-sc\t{__version__}",
        f"python\t{platform.python_version()} on {platform.system()} {platform.machine()}",
        *(f"{name}\t{_version(name)}" for name in _PACKAGES),
        f"device\t{device}, {torch.get_num_threads()} threads",
        f"scan backend\t{choice.name}: {choice.reason}",
    ]
    return "\n".join(lines + ([] if arguments.model is None else _describe(arguments.model)))


def _describe(folder: str) -> list[str]:
    saved = read_model(folder)
    config = saved.meta["init"]["encoder_config"]
    arguments = saved.meta["registry"]["setup_args"]
    fields = saved.meta["registry"]["field_registries"]
    lines = [
        f"model\t{folder}",
        f"saved by\t{', '.join(f'{name} {number}' for name, number in saved.meta['versions'].items())}",
        f"parameters\t{sum(tensor.numel() for tensor in saved.tensors.values()):,}",
        f"genes\t{saved.vocabulary.n_genes} ({saved.vocabulary.species}), {saved.vocabulary.fingerprint[:12]}",
        f"encoder\t{', '.join(f'{name}={value}' for name, value in config.items())}",
        f"trained on\t{fields['X']['state_registry']['n_obs']} cells, {arguments}",
    ]
    if "labels" in fields:
        state = fields["labels"]["state_registry"]
        types = [str(name) for name in state["categorical_mapping"] if name != state.get("unlabeled_category")]
        lines.append(f"cell types\t{', '.join(types)}")
    return lines


def _model_for(arguments: argparse.Namespace, adata: AnnData | None) -> GeneMambaModel:
    """Load what is named and not to be trained, or train a model on ``adata``."""
    if arguments.model is not None or (arguments.command == "embed" and arguments.pretrained is not None):
        model = _load(arguments)
        for name in ("layer", "gene_id_key"):  # where this query holds what the model reads
            if getattr(arguments, name) is not None:
                model.registry_["setup_args"][name] = getattr(arguments, name)
    else:
        model = _train(arguments, adata)
    _resolve_aliases(model, arguments)
    return model


def _resolve_aliases(model: GeneMambaModel, arguments: argparse.Namespace) -> None:
    if arguments.gene_table is not None:
        model.gene_aliases = GeneAliases.from_tsv(arguments.gene_table)


def _load(arguments: argparse.Namespace) -> GeneMambaModel:
    if arguments.model is not None:
        return GeneMambaModel.load(arguments.model, adata=False, accelerator=arguments.accelerator)
    return GeneMambaModel.from_pretrained(
        arguments.pretrained, revision=arguments.revision, accelerator=arguments.accelerator
    )


def _train(arguments: argparse.Namespace, adata: AnnData) -> GeneMambaModel:
    scvi.settings.seed = arguments.seed
    GeneMambaModel.setup_anndata(
        adata,
        layer=arguments.layer,
        batch_key=arguments.batch_key,
        labels_key=arguments.labels_key,
        unlabeled_category=getattr(arguments, "unlabeled_category", None),
        gene_id_key=arguments.gene_id_key,
    )
    if arguments.pretrained is None:
        model = GeneMambaModel(adata)
    else:
        model = GeneMambaModel.from_pretrained(
            arguments.pretrained, adata=adata, revision=arguments.revision, accelerator=arguments.accelerator
        )
        # The genes are those of the weights, so the reference may have other names for them, too.
        _resolve_aliases(model, arguments)
    model.train(max_epochs=arguments.max_epochs, accelerator=arguments.accelerator)
    if arguments.save_model is not None:
        model.save(arguments.save_model, overwrite=True)
        print(f"model saved to {arguments.save_model}", file=sys.stderr)
    return model


def _check_early(arguments: argparse.Namespace) -> None:
    """Refuse before hours of work what would fail after them."""
    check_writable(arguments.output)
    if arguments.save_model is not None:
        check_target(arguments.save_model, overwrite=True)
    if arguments.gene_table is not None and not Path(arguments.gene_table).is_file():
        raise FileNotFoundError(f"{arguments.gene_table} is not a file. Give the path of a table with HGNC's columns.")
    _check_accelerator(arguments.accelerator)


def _check_gene_ids(arguments: argparse.Namespace, query: AnnData) -> None:
    """Refuse a column of gene ids that a model is told to read in a query that lacks it."""
    key = arguments.gene_id_key
    trains = arguments.model is None and (arguments.command == "annotate" or arguments.pretrained is None)
    if not trains and key is not None and key not in query.var:
        raise ValueError(
            f"--gene-id-key {key} is not a column of the query's var, which has {list(query.var.columns)}. "
            "Name one of these, or leave the option out to read var_names."
        )


def _check_accelerator(name: str) -> None:
    try:
        parse_device_args(accelerator=name, devices="auto", return_device="torch")
    except (MisconfigurationException, ValueError) as error:
        raise ValueError(
            f"--accelerator {name} cannot be used here ({error}) Use --accelerator cpu or auto."
        ) from error


def _read(path: str, backed: bool = False) -> AnnData:
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is not a file. Give the path of an h5ad file.")
    try:
        return open_h5ad(path) if backed else anndata.read_h5ad(path)
    except Exception as error:  # h5py and anndata raise many kinds for a file that is no h5ad
        raise ValueError(f"{path} cannot be read as h5ad ({error}). Write it with adata.write_h5ad.") from error


def _write(adata: AnnData, path: str) -> None:
    with replacing_file(path) as temporary:
        adata.write_h5ad(temporary)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed (not needed)"
