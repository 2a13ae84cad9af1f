"""list the genes that are most like some genes (the question that is meant where none is named)"""  # noqa: D400

import argparse

from genemamba_sc.cli import _genes as genes
from genemamba_sc.cli._options import positive


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    genes.add_model(parser)
    parser.add_argument("genes", metavar="GENE", nargs="+", help="symbols or Ensembl ids")
    parser.add_argument("-n", type=positive, default=10, help="number of genes for each (default: %(default)s)")


def run(arguments: argparse.Namespace) -> str:
    """Give one line per gene and neighbour: gene, neighbour, id, cosine in the gene table."""
    from genemamba_sc.tl import nearest_genes

    model = genes.load_model(arguments)
    lines = ["gene\tneighbour\tgene_id\tscore"]
    for gene in arguments.genes:
        found = nearest_genes(model, gene, n=arguments.n)
        rows = zip(found.genes, found.gene_ids, found.score)
        lines += [f"{found.gene}\t{name}\t{identifier}\t{score:.4f}" for name, identifier, score in rows]
    return "\n".join(lines)
