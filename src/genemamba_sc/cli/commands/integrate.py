"""integrate batches, or map cells onto an integrated reference"""  # noqa: D400

import argparse
from typing import TYPE_CHECKING

from genemamba_sc.cli._options import add_data, add_pretrained, add_training, misused_model

if TYPE_CHECKING:
    from anndata import AnnData


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("input", metavar="IN", help="h5ad, h5mu, zarr folder, or 10x file or folder to read")
    parser.add_argument("output", metavar="OUT", help="h5ad file or zarr folder to write")
    parser.add_argument(
        "--map-to", dest="model", metavar="MODEL", help="saved model that IN is mapped onto; the model does not change"
    )
    parser.add_argument("--labels-key", help="column of obs with cell types, of all or of some cells")
    parser.add_argument("--unlabeled-category", help="value in that column that means no label")
    parser.add_argument("--save-model", help="folder to save the trained model to, for --map-to")
    add_pretrained(parser, "weights to start from: mini, which ships, a folder, or owner/name on the hub")
    add_data(parser)
    add_training(parser)


def check(arguments: argparse.Namespace) -> str:
    """Say what is wrong with the options."""
    if arguments.model is None and arguments.batch_key is None:
        return "--batch-key is needed: the column of obs with the batch of each cell"
    if arguments.model is not None:
        given = ("labels_key", "unlabeled_category", "save_model", "max_epochs", "seed", "pretrained", "revision")
        useless = [f"--{name.replace('_', '-')}" for name in given if getattr(arguments, name) is not None]
        if useless:
            return f"--map-to trains nothing, so {', '.join(useless)} would have no effect: leave out one or the other"
    if arguments.gene_table is not None and arguments.model is None and arguments.pretrained is None:
        return "--gene-table needs --map-to or --pretrained: a model trained on IN takes its genes as named there"
    return misused_model(arguments)


def run(arguments: argparse.Namespace) -> str:
    """Write the integrated embedding of every cell of a file."""
    from genemamba_sc._constants import OBSM_KEY
    from genemamba_sc.cli import _models as models
    from genemamba_sc.cli._cells import hand_over, read_pair, write_cells

    models.check_early(arguments, arguments.input)
    adata, whole = read_pair(arguments.input, models.place(arguments))
    trains = arguments.model is None
    models.check_gene_ids(arguments, adata, trains=trains)
    if trains:
        _require_batches(adata, arguments.batch_key)
        notes = models.notes_in(adata)
        model = models.train(arguments, adata, integrate=True)
        latent = model.get_latent_representation(adata, key_added=OBSM_KEY)
        models.bring_back(adata, notes)
    else:
        model = models.load(arguments)
        if model.integration_ is None:
            raise ValueError(
                f"{arguments.model} was not trained to integrate batches. Train one that was: genemamba integrate IN "
                "OUT --batch-key KEY --save-model MODEL."
            )
        latent = model.get_latent_representation(adata, key_added=OBSM_KEY, integrated=True, **models.where(arguments))
    write_cells(hand_over(adata, whole), arguments.output)
    done = "integrated" if trains else f"mapped onto {arguments.model}"
    return f"{arguments.output}: obsm[{OBSM_KEY!r}] of {latent.shape[0]} cells × {latent.shape[1]} dimensions, {done}"


def _require_batches(adata: "AnnData", batch_key: str) -> None:
    """Refuse cells of one batch; a column that does not exist is refused where all columns are."""
    if list(adata.obs.columns).count(batch_key) == 1 and adata.obs[batch_key].nunique() == 1:
        raise ValueError(
            f"Cells of two batches or more can be integrated. Got one in obs[{batch_key!r}]: "
            f"{adata.obs[batch_key].dropna().iloc[0]!r}. Name another column with --batch-key."
        )
