"""put the genes of cells in order, beside methods that could win"""  # noqa: D400

import argparse

from genemamba_sc.cli import _genes as genes
from genemamba_sc.cli._options import natural, positive


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    genes.add_model(parser)
    genes.add_cells(parser)
    parser.add_argument("--protocol", choices=("masked", "published"), default="masked", help="default: %(default)s")
    parser.add_argument("--reference", metavar="FILE", help="cells to learn from (default: those that are not rebuilt)")
    parser.add_argument("--n-cells", type=positive, help="number of cells to rebuild (default: by the protocol)")
    parser.add_argument("--seed", type=natural, default=0, help="seed of all draws (default: %(default)s)")
    genes.add_out(parser, draws=True)


def check(arguments: argparse.Namespace) -> str:
    """Say what is wrong with the options."""
    if arguments.protocol == "published" and arguments.reference is not None:
        return "--protocol published reads no reference: leave out one of them"
    return ""


def run(arguments: argparse.Namespace) -> str:
    """Give a row per method."""
    from genemamba_sc.tl import reconstruct_ranks

    genes.check_files(arguments)
    model, cells = genes.load_model(arguments), genes.read_asked(arguments, arguments.cells)
    reference = None if arguments.reference is None else genes.read_asked(arguments, arguments.reference)
    asked = {name: getattr(arguments, name) for name in ("protocol", "n_cells", "seed")}
    found = reconstruct_ranks(model, cells, reference=reference, **asked, **genes.where(arguments))
    return genes.as_table_and_picture(found.to_frame(), arguments, found.plot, index=True)
