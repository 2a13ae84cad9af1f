"""list the genes that are most like some genes (the question that is meant where none is named)"""  # noqa: D400

import argparse

from genemamba_sc.cli import _genes as genes
from genemamba_sc.cli._options import positive


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    genes.add_model(parser)
    parser.add_argument("genes", metavar="GENE", nargs="+", help="symbols or Ensembl ids")
    parser.add_argument("-n", type=positive, default=10, help="number of genes for each (default: %(default)s)")
    genes.add_out(parser)


def run(arguments: argparse.Namespace) -> str:
    """Give one line per gene and neighbour: gene, neighbour, id, cosine in the gene table."""
    import pandas as pd

    from genemamba_sc.tl import nearest_genes

    genes.check_files(arguments)
    model, rows = genes.load_model(arguments), []
    for gene in arguments.genes:
        found = nearest_genes(model, gene, n=arguments.n)
        scores = (f"{score:.4f}" for score in found.score)
        rows += [(found.gene, *row) for row in zip(found.genes, found.gene_ids, scores)]
    return genes.as_table(pd.DataFrame(rows, columns=["gene", "neighbour", "gene_id", "score"]), arguments)
