"""list the genes that are most like some genes"""  # noqa: D400

import argparse
from pathlib import Path

from genemamba_sc.cli._options import positive


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "model", metavar="MODEL", help="folder of a saved model, or weights: mini, a folder, owner/name"
    )
    parser.add_argument("genes", metavar="GENE", nargs="+", help="symbols or Ensembl ids")
    parser.add_argument("-n", type=positive, default=10, help="number of genes for each (default: %(default)s)")
    parser.add_argument("--revision", help="full commit hash of weights on the Hugging Face Hub")
    parser.add_argument("--gene-table", help="TSV of gene names (HGNC's columns) to resolve aliases with")


def run(arguments: argparse.Namespace) -> str:
    """Give one line per gene and neighbour: gene, neighbour, id, cosine in the gene table."""
    from genemamba_sc.cli import _models as models
    from genemamba_sc.tl import nearest_genes
    from genemamba_sc.weights._folder import CONFIG_FILE, config_or_none
    from genemamba_sc.weights._saved_model import is_own

    is_saved = is_own(config_or_none(Path(arguments.model) / CONFIG_FILE))
    if is_saved and arguments.revision is not None:
        raise ValueError(
            f"--revision is of weights on the Hugging Face Hub. {arguments.model} is a saved model. Leave it out."
        )
    named = (
        {"model": arguments.model, "pretrained": None} if is_saved else {"model": None, "pretrained": arguments.model}
    )
    model = models.load(argparse.Namespace(**{**vars(arguments), **named, "accelerator": "cpu"}))
    lines = ["gene\tneighbour\tgene_id\tscore"]
    for gene in arguments.genes:
        found = nearest_genes(model, gene, n=arguments.n)
        rows = zip(found.genes, found.gene_ids, found.score)
        lines += [f"{found.gene}\t{name}\t{identifier}\t{score:.4f}" for name, identifier, score in rows]
    return "\n".join(lines)
