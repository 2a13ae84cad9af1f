"""connect genes that are more related than genes of like expression"""  # noqa: D400

import argparse
from typing import Any

from genemamba_sc.cli import _genes as genes
from genemamba_sc.cli._options import inner_share, natural, positive

_METHODS = ("explained", "effect", "combined", "contextual", "static", "pearson", "spearman")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    genes.add_model(parser)
    genes.add_cells(parser)
    genes.add_genes(parser, required=False)
    parser.add_argument("--sources", metavar="GENE", nargs="+", help="genes at one end of each edge (default: all)")
    add_score(parser)
    genes.add_out(parser, draws=True)


def add_score(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which edges there are."""
    parser.add_argument("--method", choices=_METHODS, default="explained", help="score (default: %(default)s)")
    parser.add_argument("--max-fdr", type=inner_share, default=0.05, help="false discovery rate (default: %(default)s)")
    parser.add_argument("--n-neighbors", type=positive, default=20, help="strongest edges of a gene (%(default)s)")
    parser.add_argument("--min-cells", type=positive, default=10, help="cells that must express a gene (%(default)s)")
    parser.add_argument("--seed", type=natural, default=0, help="seed of all draws (default: %(default)s)")


def asked_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the options ask of a network."""
    names = ("method", "max_fdr", "n_neighbors", "min_cells", "seed")
    return {name: getattr(arguments, name) for name in names} | genes.where(arguments)


def run(arguments: argparse.Namespace) -> str:
    """Give a row per edge."""
    import sys

    from genemamba_sc.tl import gene_network

    genes.check_files(arguments)
    if arguments.plot is not None:
        genes.require_igraph()
    named, model = genes.named_genes(arguments), genes.load_model(arguments)
    cells = genes.read_asked(arguments, arguments.cells)
    found = gene_network(model, cells, genes=named, sources=arguments.sources, **asked_of(arguments))
    print(found, file=sys.stderr)
    return genes.as_table_and_picture(found.to_frame(), arguments, found.plot)
