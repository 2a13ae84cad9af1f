"""Share what the questions about genes have in common: options, the model, the cells, and tables as results."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genemamba_sc.cli._apart import require_apart
from genemamba_sc.cli._options import add_expression

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from genemamba_sc import GeneMambaModel

_PICTURES = (".png", ".pdf", ".svg")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the model, and what belongs to it."""
    parser.add_argument(
        "model", metavar="MODEL", help="folder of a saved model, or weights: mini, a folder, owner/name"
    )
    parser.add_argument("--revision", help="full commit hash of weights on the Hugging Face Hub")
    parser.add_argument("--gene-table", help="TSV of gene names (HGNC's columns) to resolve aliases with")


def add_cells(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """Add the cells that are read, and where they hold what."""
    told = "h5ad, h5mu, zarr folder, or 10x file or folder to read"
    if optional:
        parser.add_argument("cells", metavar="CELLS", nargs="?", help=f"{told}; without it the gene table is asked")
    else:
        parser.add_argument("cells", metavar="CELLS", help=told)
    add_expression(parser)
    parser.add_argument("--accelerator", default="auto", help="cpu, gpu, mps or auto (default: %(default)s)")


def add_genes(parser: argparse.ArgumentParser, *, required: bool = True) -> argparse._MutuallyExclusiveGroup:
    """Add the genes that are asked about; return the group of options of which one may be given."""
    group = parser.add_mutually_exclusive_group(required=required)
    group.add_argument("--genes", metavar="GENE", nargs="+", help="symbols or Ensembl ids")
    group.add_argument("--genes-from", metavar="FILE", help="file with a gene a line")
    return group


def add_out(parser: argparse.ArgumentParser, *, draws: bool = False) -> None:
    """Add the files that are written."""
    parser.add_argument("--out", metavar="TSV", help="file for the table (default: it is printed)")
    if draws:
        parser.add_argument("--plot", metavar="FILE", help="file for a picture: png, pdf or svg")


def integer(text: str) -> int:
    """Read a whole number with or without a sign."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a whole number is needed, got {text!r}") from None


def named_genes(arguments: argparse.Namespace) -> list[str] | None:
    """Return the genes of the options, in their order; ``None`` where none are given."""
    from genemamba_sc.data.genes._text_files import reading

    if arguments.genes_from is None:
        return arguments.genes
    path = Path(arguments.genes_from)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file. Give --genes-from a file with a gene a line, or name --genes.")
    with reading(path, "list of genes in UTF-8"):
        genes = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if not genes:
        raise ValueError(f"--genes-from needs a file with a gene a line. {path} has none. Write some into it.")
    return genes


def check_files(arguments: argparse.Namespace, *names: str) -> None:
    """Refuse, before any work, files that could not be written at the end, or that would replace what is read."""
    from genemamba_sc._files import check_writable

    written = _paths(arguments, "out", "plot", *names)
    for name, path in written.items():
        if Path(path).is_dir():
            raise IsADirectoryError(f"--{name} needs a file. {path} is a folder. Give the name of a file to write.")
        if name == "plot" and Path(path).suffix.lower() not in _PICTURES:
            raise ValueError(f"--plot writes {', '.join(_PICTURES)}, by the end of the name. Got {path}. Rename it.")
        check_writable(path)
    require_apart({f"--{name}": path for name, path in written.items()}, _read_paths(arguments))


def _read_paths(arguments: argparse.Namespace) -> dict[str, str]:
    """Return what a question reads, by the name of the option."""
    placed, options = ("model", "cells"), ("genes_from", "sets", "reference", "gene_table")
    return {name.upper(): path for name, path in _paths(arguments, *placed).items()} | {
        f"--{name.replace('_', '-')}": path for name, path in _paths(arguments, *options).items()
    }


def _paths(arguments: argparse.Namespace, *names: str) -> dict[str, str]:
    found = ((name, getattr(arguments, name, None)) for name in names)
    return {name: path for name, path in found if path is not None}


def load_model(arguments: argparse.Namespace) -> "GeneMambaModel":
    """Load the model or the weights that MODEL names."""
    from genemamba_sc.cli import _models as models
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
    place = {"accelerator": getattr(arguments, "accelerator", "cpu")}
    models.check_accelerator(place["accelerator"])
    return models.load(argparse.Namespace(**{**vars(arguments), **named, **place}))


def read_asked(arguments: argparse.Namespace, path: str) -> "AnnData":
    """Read the cells of a file, of which the options say where they hold what."""
    from genemamba_sc.cli import _models as models
    from genemamba_sc.cli._cells import read_cells

    cells = read_cells(path, models.place(arguments))
    models.check_gene_ids(arguments, cells, trains=False)
    return cells


def where(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return where the cells hold what."""
    return {name: getattr(arguments, name) for name in ("layer", "gene_id_key", "scale")}


def as_table(frame: "pd.DataFrame", arguments: argparse.Namespace, *, index: bool = False) -> str:
    """Write a table to the file that was named, or return it to be printed.

    Parameters
    ----------
    frame
        The table.
    arguments
        Arguments of the command.
    index
        Whether the names of the rows are a column.
    """
    if arguments.out is None:
        return frame.to_csv(None, sep="\t", index=index, float_format="%.6g").rstrip("\n")
    write_table(frame, arguments.out, index=index)
    return f"{arguments.out}: {len(frame):,} rows"


def write_table(frame: "pd.DataFrame", path: str, *, index: bool = False) -> None:
    """Write a table to a file, whole or not at all."""
    from genemamba_sc._files import replacing_file

    with replacing_file(path) as temporary:
        frame.to_csv(temporary, sep="\t", index=index, float_format="%.6g")


def require_igraph() -> None:
    """Refuse, before any work, what needs igraph where it is missing."""
    try:
        import igraph  # noqa: F401
    except ModuleNotFoundError as error:
        raise ImportError(
            "Programs and pictures of networks need igraph. Got no igraph here. "
            "Install it with: pip install 'genemamba-sc[graphs]'"
        ) from error


class TableWithoutPicture(str):
    """Hold a result whose picture could not be drawn; the command prints it and ends as one that failed."""

    ok = False


def as_table_and_picture(
    frame: "pd.DataFrame", arguments: argparse.Namespace, plot: Callable[[], Any], *, index: bool = False
) -> str:
    """Write a table or return it as :func:`as_table` does, then draw a picture of it, where one was asked for.

    The table may have taken hours: where the picture fails, the error is told and the table stays.

    Parameters
    ----------
    frame, arguments, index
        As in :func:`as_table`.
    plot
        Draws the picture.
    """
    told = as_table(frame, arguments, index=index)
    if arguments.plot is None:
        return told
    try:
        from genemamba_sc.pl import save_figure

        save_figure(plot(), arguments.plot)
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        if arguments.traceback:
            raise
        print(f"{arguments.plot} was not drawn, the table is complete: {error}", file=sys.stderr)
        return TableWithoutPicture(told)
    return told
