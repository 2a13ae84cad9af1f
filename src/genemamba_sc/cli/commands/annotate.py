"""name the cell types of a query by a labelled reference"""  # noqa: D400

import argparse

from genemamba_sc.cli._options import add_data, add_pretrained, add_training, misused_model, useless_with_model


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("query", metavar="QUERY", help="h5ad, zarr folder, or 10x file or folder to annotate")
    parser.add_argument("output", metavar="OUT", help="h5ad file or zarr folder to write")
    parser.add_argument("--reference", metavar="REF", help="file with labelled cells to train on")
    parser.add_argument("--labels-key", help="column of the reference's obs with the cell types")
    parser.add_argument("--unlabeled-category", help="value in that column that means no label")
    parser.add_argument("--model", help="folder of a saved model with cell types, in place of a reference")
    add_pretrained(parser, "weights to start from: mini, which ships, a folder, or owner/name on the hub")
    parser.add_argument("--save-model", help="folder to save the trained model to")
    add_data(parser)
    add_training(parser)


def check(arguments: argparse.Namespace) -> str:
    """Say what is wrong with the options."""
    if (arguments.model is None) == (arguments.reference is None):
        return "exactly one of --reference (with --labels-key) and --model is needed"
    if arguments.reference is not None and arguments.labels_key is None:
        return "--reference needs --labels-key: the column of its obs with the cell types"
    return misused_model(arguments) or useless_with_model(arguments)


def run(arguments: argparse.Namespace) -> str:
    """Write predicted cell types, their confidence and the embedding of every cell of a query."""
    from genemamba_sc.cli import _models as models
    from genemamba_sc.cli._cells import read_cells, write_cells

    models.check_early(arguments)
    trains = arguments.model is None
    query = read_cells(arguments.query, models.place(arguments))
    models.check_gene_ids(arguments, query, trains=trains)
    if trains:
        model = models.train(arguments, read_cells(arguments.reference, models.place(arguments)))
    else:
        model = models.load(arguments)
    found = model.annotate(query, **({} if trains else models.where(arguments)))
    write_cells(query, arguments.output)
    return "\n".join(f"{name}\t{count}" for name, count in found.cell_types.value_counts().items() if count)
