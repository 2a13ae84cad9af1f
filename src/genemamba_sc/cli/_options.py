"""Define options that several commands share; the module imports little, because help must not wait for torch."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

_OF_TRAINING = ("labels_key", "unlabeled_category", "save_model", "max_epochs", "seed")


def add_pretrained(parser: argparse.ArgumentParser, help: str) -> None:
    """Add the options that name pretrained weights."""
    parser.add_argument("--pretrained", metavar="NAME", help=help)
    parser.add_argument("--revision", help="full commit hash of weights on the Hugging Face Hub")


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where expression, genes and batches are."""
    add_expression(parser)
    parser.add_argument("--batch-key", help="column of obs with the batch of each cell")
    parser.add_argument("--gene-table", help="TSV of gene names (HGNC's columns) to resolve aliases with")


def add_expression(parser: argparse.ArgumentParser, of: str = "") -> None:
    """Add the options that say where expression and gene names are in a file, and what the values are."""
    parser.add_argument("--layer", help=f"layer with the expression{of} (default: X)")
    parser.add_argument("--use-raw", action="store_true", help="read the expression and the genes of adata.raw")
    parser.add_argument("--modality", help="modality of an h5mu file (default: rna, or the only one)")
    parser.add_argument(
        "--scale",
        choices=("counts", "normalised", "log1p", "log2", "log10"),
        help="what the values are (default: found out from them)",
    )
    parser.add_argument("--gene-id-key", help="column of var with the gene ids (default: var_names)")


def add_training(parser: argparse.ArgumentParser) -> None:
    """Add the options of a training."""
    parser.add_argument("--max-epochs", type=natural, help="passes over the cells (default: by their number)")
    parser.add_argument("--seed", type=natural, help="seed of the training (default: 0)")
    parser.add_argument("--accelerator", default="auto", help="cpu, gpu, mps or auto (default: %(default)s)")


def add_vocabulary(parser: argparse.ArgumentParser, otherwise: str) -> None:
    """Add the option for the table of the genes."""
    parser.add_argument("--vocabulary", metavar="TSV", help=f"table of the genes that have tokens ({otherwise})")


def misused_model(arguments: argparse.Namespace) -> str:
    """Say what is wrong with the options that name a model; return "" where nothing is."""
    if arguments.model is not None and arguments.pretrained is not None:
        return "--model is a model that you saved, --pretrained weights to start from: give one of them"
    if arguments.revision is not None and arguments.pretrained is None:
        return "--revision is of weights on the Hugging Face Hub: name them with --pretrained"
    return ""


def useless_with_model(
    arguments: argparse.Namespace, pretrained: str | None = None, *, seed_matters: bool = False
) -> str:
    """Say which options of training are given although nothing is trained; return "" where none is.

    Parameters
    ----------
    arguments
        Arguments of the command.
    pretrained
        Why nothing is trained with ``--pretrained``; ``None`` where training takes place.
    seed_matters
        Whether something else than a training is drawn with the seed.
    """
    names = [name for name in _OF_TRAINING if not (name == "seed" and seed_matters)]
    given = [name for name in names if getattr(arguments, name, None) is not None]
    useless = ", ".join(f"--{name.replace('_', '-')}" for name in given)
    if useless and arguments.model is not None:
        return f"--model is not trained again, so {useless} would have no effect: leave out one or the other"
    if useless and pretrained is not None and arguments.pretrained is not None:
        return f"{pretrained}, so {useless} would have no effect: leave out one or the other"
    return ""


def natural(text: str) -> int:
    """Read a whole number of at least 0."""
    return _whole(text, 0)


def inner_share(text: str) -> float:
    """Read a number in (0, 1), both ends left out."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"a number between 0 and 1 is needed, both left out, got {text!r}")
    return number


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    return _whole(text, 1)


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"a whole number of at least {least} is needed, got {text!r}")
    return int(text)


@contextmanager
def needs_pyarrow() -> Iterator[None]:
    """Say how to install what corpora need, where it is missing.

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "pyarrow":
            raise
        raise ImportError(
            "Corpora are kept in Arrow files, which needs pyarrow. Got no pyarrow here. "
            "Install it with: pip install 'genemamba-sc[corpus]'"
        ) from error
