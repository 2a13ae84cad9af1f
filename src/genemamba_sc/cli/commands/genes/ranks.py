"""delete or move genes in cells: what becomes of the predicted ranks of others"""  # noqa: D400

import argparse

from genemamba_sc.cli import _genes as genes
from genemamba_sc.cli._options import natural
from genemamba_sc.cli.commands.genes.perturb import add_change, wrong_change


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    genes.add_model(parser)
    genes.add_cells(parser)
    genes.add_genes(parser)
    parser.add_argument("--targets", metavar="GENE", nargs="+", help="genes whose ranks are read (default: all)")
    add_change(parser)
    parser.add_argument("--seed", type=natural, default=0, help="seed of all draws (default: %(default)s)")
    genes.add_out(parser, draws=True)


def check(arguments: argparse.Namespace) -> str:
    """Say what is wrong with the options."""
    return wrong_change(arguments)


def run(arguments: argparse.Namespace) -> str:
    """Give a row per gene and target."""
    from genemamba_sc.tl import rank_effects

    genes.check_files(arguments)
    named, model = genes.named_genes(arguments), genes.load_model(arguments)
    cells = genes.read_asked(arguments, arguments.cells)
    asked = {name: getattr(arguments, name) for name in ("targets", "kind", "shift", "n_controls", "seed")}
    found = rank_effects(model, cells, named or [], **asked, **genes.where(arguments))
    return genes.as_table_and_picture(found.to_frame(), arguments, found.plot)
