"""name the cell types of a query by a labelled reference"""  # noqa: D400

import argparse

from genemamba_sc.cli._options import (
    add_data,
    add_pretrained,
    add_training,
    inner_share,
    misused_model,
    useless_with_model,
)


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
    _add_sureness(parser)
    add_data(parser)
    add_training(parser)


def _add_sureness(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--coverage", type=inner_share, help="share of the label sets that hold the right type (default: 0.9)"
    )
    parser.add_argument("--per-type", action="store_true", help="let the coverage hold for the cells of every type")
    parser.add_argument(
        "--allow-empty",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="label sets may be empty; otherwise the predicted type is in every set",
    )
    parser.add_argument(
        "--reject-unknown", action="store_true", help="call cells Unknown that look less like known types than 95 %%"
    )
    parser.add_argument(
        "--majority-voting", metavar="CLUSTERS", help="column of the query's obs, or leiden for clusters made here"
    )


def check(arguments: argparse.Namespace) -> str:
    """Say what is wrong with the options."""
    if (arguments.model is None) == (arguments.reference is None):
        return "exactly one of --reference (with --labels-key) and --model is needed"
    if arguments.reference is not None and arguments.labels_key is None:
        return "--reference needs --labels-key: the column of its obs with the cell types"
    return misused_model(arguments) or useless_with_model(arguments)


def run(arguments: argparse.Namespace) -> str:
    """Write predicted cell types, how sure they are, and the embedding of every cell of a query."""
    from genemamba_sc.cli import _models as models
    from genemamba_sc.cli._cells import hand_over, read_cells, read_pair, write_cells
    from genemamba_sc.model.annotation._annotating import Asked
    from genemamba_sc.model.annotation._foreseeing import check_query
    from genemamba_sc.model.annotation._voting import check_voting

    models.check_early(arguments, arguments.query)
    trains = arguments.model is None
    query, whole = read_pair(arguments.query, models.place(arguments))
    models.check_gene_ids(arguments, query, trains=trains)
    check_voting(query, arguments.majority_voting)
    names = ("coverage", "per_type", "allow_empty", "reject_unknown", "majority_voting")
    choices = {name: getattr(arguments, name) for name in names}
    if trains:
        model = models.set_up(arguments, read_cells(arguments.reference, models.place(arguments)))
        aliases = model.gene_aliases or models.aliases(arguments)
        check_query(model, query, Asked(**choices), aliases, arguments.scale)
        models.fit(arguments, model)
    else:
        model = models.load(arguments)
    # A model that was trained here knows layer and ids from its reference, but not what the values of other cells are.
    where = {"scale": arguments.scale} if trains else models.where(arguments)
    found = model.annotate(query, **choices, **where)
    write_cells(hand_over(query, whole), arguments.output)
    return "\n".join(f"{name}\t{count}" for name, count in found.cell_types.value_counts().items() if count)
