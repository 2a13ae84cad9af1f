"""write the embedding of every cell to obsm['X_genemamba']"""  # noqa: D400

import argparse
import os

from genemamba_sc.cli._options import add_data, add_pretrained, add_training, misused_model, useless_with_model


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("input", metavar="IN", help="h5ad, zarr folder, or 10x file or folder to read")
    parser.add_argument("output", metavar="OUT", help="h5ad file or zarr folder to write")
    parser.add_argument("--model", help="folder of a saved model; without it one is trained on IN")
    add_pretrained(
        parser, "embed with pretrained weights, without training: mini, which ships, a folder, or owner/name"
    )
    parser.add_argument("--save-model", help="folder to save the trained model to")
    parser.add_argument("--labels-key", help="column of obs with cell types that shape the embedding in training")
    parser.add_argument(
        "--embedding-only", action="store_true", help="write obs and the embedding without the matrix; IN stays on disk"
    )
    add_data(parser)
    add_training(parser)


def check(arguments: argparse.Namespace) -> str:
    """Say what is wrong with the options."""
    if problem := misused_model(arguments) or useless_with_model(arguments, "--pretrained embeds without training"):
        return problem
    if arguments.gene_table is not None and arguments.model is None and arguments.pretrained is None:
        return "--gene-table needs --model or --pretrained: a model trained on IN takes its genes as named there"
    if arguments.embedding_only and os.path.realpath(arguments.input) == os.path.realpath(arguments.output):
        return "--embedding-only leaves out the matrix, so OUT must not be IN: name another file to write"
    return ""


def run(arguments: argparse.Namespace) -> str:
    """Write the embedding of every cell of a file."""
    from anndata import AnnData

    from genemamba_sc._constants import OBSM_KEY
    from genemamba_sc.cli import _models as models
    from genemamba_sc.cli._cells import hand_over, read_pair, write_cells

    models.check_early(arguments, arguments.input)
    trains = arguments.model is None and arguments.pretrained is None
    adata, whole = read_pair(arguments.input, models.place(arguments), backed=arguments.embedding_only)
    models.check_gene_ids(arguments, adata, trains=trains)
    notes = models.notes_in(adata)
    model = models.train(arguments, adata) if trains else models.load(arguments)
    where = {} if trains else models.where(arguments)
    latent = model.get_latent_representation(adata, key_added=OBSM_KEY, **where)
    if trains:
        models.bring_back(adata, notes)
    alone = arguments.embedding_only
    found = AnnData(obs=adata.obs.copy(), obsm={OBSM_KEY: latent}) if alone else hand_over(adata, whole)
    write_cells(found, arguments.output)
    return f"{arguments.output}: obsm[{OBSM_KEY!r}] of {latent.shape[0]} cells × {latent.shape[1]} dimensions"
