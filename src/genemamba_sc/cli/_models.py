"""Load or train the models that commands name, and check early what must hold before hours of work."""

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import scvi
from anndata import AnnData
from lightning.fabric.utilities.exceptions import MisconfigurationException
from scvi.model._utils import parse_device_args

from genemamba_sc.cli._apart import require_apart
from genemamba_sc.cli._cells import check_not_lost, check_output
from genemamba_sc.data import GeneAliases, Place
from genemamba_sc.model import GeneMambaModel
from genemamba_sc.model.fitting._training import quiet
from genemamba_sc.weights._saved_model import check_target

# How all names begin that scvi-tools writes into an AnnData.
_NOTES = "_scvi_"
# Columns of obs, and entries of uns.
Notes = tuple[dict[str, pd.Series], dict[str, Any]]


def aliases(arguments: argparse.Namespace) -> GeneAliases | None:
    """Read the table of gene names, where one is given."""
    return None if arguments.gene_table is None else GeneAliases.from_tsv(arguments.gene_table)


def _resolve_aliases(model: GeneMambaModel, arguments: argparse.Namespace) -> None:
    if arguments.gene_table is not None:
        model.gene_aliases = aliases(arguments)


def load(arguments: argparse.Namespace) -> GeneMambaModel:
    """Load the named model or weights, which are not to be trained."""
    if arguments.model is not None:
        model = GeneMambaModel.load(arguments.model, adata=False, accelerator=arguments.accelerator)
    else:
        model = GeneMambaModel.from_pretrained(
            arguments.pretrained, revision=arguments.revision, accelerator=arguments.accelerator
        )
    _resolve_aliases(model, arguments)
    return model


def train(arguments: argparse.Namespace, adata: AnnData, *, integrate: bool | None = None) -> GeneMambaModel:
    """Train a model on the cells, and save it if that is asked."""
    model = set_up(arguments, adata)
    fit(arguments, model, integrate=integrate)
    return model


def set_seed(arguments: argparse.Namespace) -> None:
    """Set the seed of everything that is drawn, without Lightning's remark on it."""
    with quiet():
        scvi.settings.seed = arguments.seed or 0


def set_up(arguments: argparse.Namespace, adata: AnnData) -> GeneMambaModel:
    """Make the model that is to be trained on the cells."""
    set_seed(arguments)
    GeneMambaModel.setup_anndata(
        adata,
        layer=arguments.layer,
        batch_key=arguments.batch_key,
        labels_key=arguments.labels_key,
        unlabeled_category=getattr(arguments, "unlabeled_category", None),
        gene_id_key=arguments.gene_id_key,
        scale=arguments.scale,
    )
    if arguments.pretrained is None:
        return GeneMambaModel(adata)
    model = GeneMambaModel.from_pretrained(
        arguments.pretrained, adata=adata, revision=arguments.revision, accelerator=arguments.accelerator
    )
    # The genes are those of the weights, so the reference may also have other names for them.
    _resolve_aliases(model, arguments)
    return model


def fit(arguments: argparse.Namespace, model: GeneMambaModel, *, integrate: bool | None = None) -> None:
    """Train a model that was set up, and save it if that is asked."""
    try:
        model.train(max_epochs=arguments.max_epochs, accelerator=arguments.accelerator, integrate=integrate)
    finally:  # cells that cannot be integrated have trained a model all the same
        if model.is_trained_:
            _resolve_aliases(model, arguments)
            _save(model, arguments)


def notes_in(adata: AnnData) -> Notes:
    """Take down what scvi-tools has noted in cells, before a model is trained on them.

    Parameters
    ----------
    adata
        The cells of a file.
    """
    columns = {name: adata.obs[name] for name in adata.obs.columns if str(name).startswith(_NOTES)}
    return columns, {name: value for name, value in adata.uns.items() if str(name).startswith(_NOTES)}


def bring_back(adata: AnnData, notes: Notes) -> None:
    """Put the notes back that a file came with: those of a training end with the command.

    Parameters
    ----------
    adata
        Cells that a model was trained on.
    notes
        What :func:`notes_in` took down.
    """
    columns, entries = notes
    adata.obs = adata.obs.drop(columns=[name for name in notes_in(adata)[0] if name not in columns]).assign(**columns)
    for name in notes_in(adata)[1]:
        del adata.uns[name]
    adata.uns.update(entries)


def _save(model: GeneMambaModel, arguments: argparse.Namespace) -> None:
    if arguments.save_model is not None:
        model.save(arguments.save_model, overwrite=True)
        print(f"model saved to {arguments.save_model}", file=sys.stderr)


def check_early(arguments: argparse.Namespace, cells: str) -> None:
    """Refuse before hours of work what would fail after them, or lose some of the cells that are read."""
    check_output(arguments.output)
    check_not_lost(cells, arguments.output)
    written = {"OUT": arguments.output}
    if arguments.save_model is not None:
        check_target(arguments.save_model, overwrite=True)
        written["--save-model"] = arguments.save_model
    require_apart(written, _read_paths(arguments))
    if arguments.gene_table is not None and not Path(arguments.gene_table).is_file():
        raise FileNotFoundError(f"{arguments.gene_table} is not a file. Give the path of a table with HGNC's columns.")
    check_accelerator(arguments.accelerator)


def _read_paths(arguments: argparse.Namespace) -> dict[str, str]:
    """Return what a command reads beside its cells, by the name of the option."""
    options = {name: f"--{name.replace('_', '-')}" for name in ("reference", "gene_table", "pretrained")}
    options["model"] = "--map-to" if arguments.command_name == "integrate" else "--model"
    found = {option: getattr(arguments, name, None) for name, option in options.items()}
    return {option: path for option, path in found.items() if path is not None}


def check_gene_ids(arguments: argparse.Namespace, query: AnnData, *, trains: bool) -> None:
    """Refuse a column of gene ids that the user named and that the query lacks."""
    key = arguments.gene_id_key
    if not trains and key is not None and key not in query.var:
        raise ValueError(
            f"--gene-id-key {key} is not a column of the query's var, which has {list(query.var.columns)}. "
            "Name one of these, or leave the option out to read var_names."
        )


def where(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return where a query holds what the model reads, and on which scale."""
    place = {"layer": arguments.layer, "gene_id_key": arguments.gene_id_key, "scale": arguments.scale}
    # Only models that integrate read batches; others say so.
    return place if arguments.batch_key is None else {**place, "batch_key": arguments.batch_key}


def place(arguments: argparse.Namespace) -> Place:
    """Tell what of a file is read as a whole; the layer is left to the model, which names it in its messages."""
    if arguments.use_raw:
        return Place(arguments.layer, use_raw=True, modality=arguments.modality)
    return Place(modality=arguments.modality)


def check_accelerator(name: str) -> None:
    """Refuse a device that this machine does not have."""
    try:
        parse_device_args(accelerator=name, devices="auto", return_device="torch")
    except (MisconfigurationException, ValueError) as error:
        raise ValueError(
            f"--accelerator {name} cannot be used here ({error}) Use --accelerator cpu or auto."
        ) from error
