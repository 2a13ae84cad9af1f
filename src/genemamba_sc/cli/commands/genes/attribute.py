"""say which genes a type or an embedding rests on, and test that"""  # noqa: D400

import argparse

from genemamba_sc.cli import _genes as genes
from genemamba_sc.cli._options import natural, positive


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    genes.add_model(parser)
    genes.add_cells(parser)
    parser.add_argument(
        "--target", choices=("cell_type", "embedding"), default="cell_type", help="default: %(default)s"
    )
    parser.add_argument("--cell-type", help="type to attribute in every cell (default: the predicted one of each)")
    methods = ("integrated_gradients", "occlusion")
    parser.add_argument("--method", choices=methods, default=methods[0], help="default: %(default)s")
    parser.add_argument("--n-tested", type=positive, default=100, help="cells of the deletion test (%(default)s)")
    parser.add_argument("-n", type=positive, help="number of genes for each target (default: all)")
    parser.add_argument("--seed", type=natural, default=0, help="seed of all draws (default: %(default)s)")
    parser.add_argument("--curves", metavar="TSV", help="file for the curves of the deletion test")
    genes.add_out(parser, draws=True)


def check(arguments: argparse.Namespace) -> str:
    """Say what is wrong with the options."""
    if arguments.target == "embedding" and arguments.cell_type is not None:
        return "--cell-type belongs to --target cell_type: leave out one of them"
    return ""


def run(arguments: argparse.Namespace) -> str:
    """Give a row per target and gene, the largest mean first."""
    import sys

    from genemamba_sc.tl import attribute

    genes.check_files(arguments, "curves")
    model, cells = genes.load_model(arguments), genes.read_asked(arguments, arguments.cells)
    asked = {name: getattr(arguments, name) for name in ("target", "cell_type", "method", "n_tested", "seed")}
    found = attribute(model, cells, **asked, **genes.where(arguments))
    print(repr(found), file=sys.stderr)
    if arguments.curves is not None:
        genes.write_table(found.deletion, arguments.curves, index=True)
    table = found.to_frame()
    shown = table if arguments.n is None else table.groupby("target").head(arguments.n)
    return genes.as_table_and_picture(shown, arguments, found.plot)
