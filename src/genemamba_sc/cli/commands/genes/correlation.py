"""compare some genes with each other: a table of all pairs"""  # noqa: D400

import argparse

from genemamba_sc.cli import _genes as genes
from genemamba_sc.cli._options import positive

_METHODS = ("combined", "explained", "contextual", "static", "pearson", "spearman")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    genes.add_model(parser)
    genes.add_cells(parser, optional=True)
    genes.add_genes(parser)
    parser.add_argument("--method", choices=_METHODS, help="score (default: static without cells, explained with them)")
    parser.add_argument("--min-cells", type=positive, default=10, help="cells that must express a gene (%(default)s)")
    genes.add_out(parser)


def check(arguments: argparse.Namespace) -> str:
    """Say what is wrong with the options."""
    if arguments.cells is None and (arguments.use_raw or arguments.modality is not None):
        return "--use-raw and --modality say how CELLS are read: name a file of cells, or leave them out"
    return ""


def run(arguments: argparse.Namespace) -> str:
    """Give a table, genes × genes."""
    from genemamba_sc.tl import gene_correlation

    genes.check_files(arguments)
    named, model = genes.named_genes(arguments), genes.load_model(arguments)
    cells = None if arguments.cells is None else genes.read_asked(arguments, arguments.cells)
    asked = {"method": arguments.method, "min_cells": arguments.min_cells, **genes.where(arguments)}
    return genes.as_table(gene_correlation(model, named or [], cells, **asked), arguments, index=True)
