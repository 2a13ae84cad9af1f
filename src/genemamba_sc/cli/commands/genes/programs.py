"""group the genes of a network into programs, and score these in cells"""  # noqa: D400

import argparse

from genemamba_sc.cli import _genes as genes
from genemamba_sc.cli._options import positive
from genemamba_sc.cli.commands.genes.network import add_score, asked_of


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    genes.add_model(parser)
    genes.add_cells(parser)
    add_score(parser)
    parser.add_argument("--resolution", type=float, default=1.0, help="larger: more and smaller programs (%(default)s)")
    parser.add_argument("--min-genes", type=positive, default=5, help="genes of a program (default: %(default)s)")
    parser.add_argument("--scores", metavar="TSV", help="file for the score of each program in each cell")
    genes.add_out(parser)


def run(arguments: argparse.Namespace) -> str:
    """Give a row per program and gene."""
    from genemamba_sc.tl import gene_network, gene_programs

    genes.check_files(arguments, "scores")
    genes.require_igraph()
    model, cells = genes.load_model(arguments), genes.read_asked(arguments, arguments.cells)
    network = gene_network(model, cells, **asked_of(arguments))
    asked = {name: getattr(arguments, name) for name in ("resolution", "min_genes", "seed")}
    found = gene_programs(model, network, cells, key_added=None, **asked, **genes.where(arguments))
    if arguments.scores is not None:
        genes.write_table(found.scores_frame().rename_axis("cell"), arguments.scores, index=True)
    return genes.as_table(found.to_frame(), arguments)
