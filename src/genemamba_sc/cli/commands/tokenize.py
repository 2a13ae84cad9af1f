"""turn h5ad, h5mu, zarr or 10x files into a corpus to pretrain on"""  # noqa: D400

import argparse
import os
import sys

from genemamba_sc.cli._options import add_expression, add_vocabulary, needs_pyarrow, positive


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("files", nargs="+", metavar="FILES", help="h5ad, h5mu, zarr or 10x, in a fixed order")
    parser.add_argument(
        "output", metavar="OUT", help="folder of the corpus; a run that was killed continues there, with the same files"
    )
    add_vocabulary(parser, "default: the genes of the files")
    parser.add_argument("--max-len", type=positive, default=2048, help="tokens kept per cell (default: %(default)s)")
    add_expression(parser, ", in all files")
    parser.add_argument(
        "--min-genes", type=positive, default=1, help="drop cells with fewer genes (default: %(default)s)"
    )
    cores = os.cpu_count() or 1
    parser.add_argument("--jobs", type=positive, default=cores, help="processes (default: all cores, %(default)s)")


def run(arguments: argparse.Namespace) -> str:
    """Write the tokens of h5ad, h5mu, zarr or 10x files as a corpus."""
    from genemamba_sc.data import GeneVocabulary

    with needs_pyarrow():
        from genemamba_sc.corpus import build_corpus

    vocabulary = None if arguments.vocabulary is None else GeneVocabulary.from_tsv(arguments.vocabulary)
    manifest = build_corpus(
        arguments.files,
        arguments.output,
        vocabulary=vocabulary,
        max_len=arguments.max_len,
        layer=arguments.layer,
        gene_id_key=arguments.gene_id_key,
        use_raw=arguments.use_raw,
        modality=arguments.modality,
        scale=arguments.scale,
        min_genes=arguments.min_genes,
        jobs=arguments.jobs,
        on_progress=_show_progress,
    )
    lines = ["file\tread\tkept\ttoo few genes\tduplicates\tgenes with a token\tcounts in them"]
    for source in manifest["sources"]:
        cells, genes = source["cells"], source["genes"]
        lines.append(
            f"{source['name']}\t{cells['read']}\t{cells['kept']}\t{cells['too_few_genes']}\t{cells['duplicates']}\t"
            f"{genes['n_matched']} of {genes['n_vars']}\t{genes['share_of_counts']:.1%}"
        )
    lines.append(f"{arguments.output}: {manifest['n_cells']:,} cells, {manifest['n_tokens']:,} tokens")
    return "\n".join(lines)


def _show_progress(done: int, n_cells: int) -> None:
    print(f"\r{done:,} of {n_cells:,} cells", end="\n" if done == n_cells else "", file=sys.stderr, flush=True)
