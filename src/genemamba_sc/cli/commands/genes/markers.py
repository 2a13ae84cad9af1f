"""list the genes behind the score of each type; no cells are read"""  # noqa: D400

import argparse

from genemamba_sc.cli import _genes as genes
from genemamba_sc.cli._options import positive


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    genes.add_model(parser)
    parser.add_argument("-n", type=positive, default=10, help="number of genes for each type (default: %(default)s)")
    genes.add_out(parser)


def run(arguments: argparse.Namespace) -> str:
    """Give a row per type and gene, the largest contribution first."""
    from genemamba_sc.tl import marker_genes

    genes.check_files(arguments)
    return genes.as_table(marker_genes(genes.load_model(arguments), arguments.n), arguments)
