"""The command line: ``genemamba demo | embed | annotate | tokenize | pretrain | selftest | info``.

Results go to stdout, progress and warnings to stderr. Exit codes: 0 done, 1 the input or the machine did not
allow it (the message says what and the way out), 2 wrong usage, 130 interrupted. Output files are written whole
or not at all.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from genemamba_sc._version import __version__
from genemamba_sc.cli._corpus_options import add_pretrain, add_tokenize
from genemamba_sc.cli._environment import prepare_libraries, prepare_streams

_EXIT_ERROR, _EXIT_INTERRUPTED = 1, 130
# Where the commands are that are not in _commands.
_HOME = {"tokenize": "_corpus", "pretrain": "_corpus", "selftest": "_selftest"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv
        The arguments; ``None`` takes those of the process.

    Returns
    -------
    The exit code.
    """
    prepare_streams()
    parser = _parser()
    arguments = parser.parse_args(argv)
    if problem := _misused(arguments):
        parser.error(problem)
    # The commands import torch and scvi-tools, which takes seconds: help and usage errors must not wait for that.
    prepare_libraries()
    try:
        home = _home_of(arguments.command)
        # Progress bars of scvi-tools and its remarks go to stdout: only the result belongs there.
        with contextlib.redirect_stdout(sys.stderr):
            result = getattr(home, arguments.command)(arguments)
    except KeyboardInterrupt:
        print(f"genemamba {arguments.command}: interrupted; nothing is half-written.", file=sys.stderr)
        return _EXIT_INTERRUPTED
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        if arguments.traceback:
            raise
        print(f"genemamba {arguments.command}: {error}", file=sys.stderr)
        return _EXIT_ERROR
    if result:  # of several processes one speaks
        print(result)
    return 0 if getattr(result, "ok", True) else _EXIT_ERROR  # a report can be a bad one


def _home_of(command: str) -> ModuleType:
    """Import what does the command; that of corpora needs more than the package itself does."""
    try:
        return import_module(f"genemamba_sc.cli.{_HOME.get(command, '_commands')}")
    except ModuleNotFoundError as error:
        if error.name != "pyarrow":
            raise
        raise ImportError(
            "Corpora are kept in Arrow files, which needs pyarrow. Got no pyarrow here. "
            "Install it with: pip install 'genemamba-sc[corpus]'"
        ) from error


def _misused(arguments: argparse.Namespace) -> str:
    """Say what is wrong with options that need or exclude each other; "" where nothing is."""
    given = {name for name, value in vars(arguments).items() if value is not None}
    if arguments.command == "annotate":
        if ("model" in given) == ("reference" in given):
            return "exactly one of --reference (with --labels-key) and --model is needed"
        if "reference" in given and "labels_key" not in given:
            return "--reference needs --labels-key: the column of its obs with the cell types"
    if {"model", "pretrained"} <= given:
        return "--model is a model that you saved, --pretrained weights to start from: give one of them"
    if "revision" in given and "pretrained" not in given:
        return "--revision is of weights on the Hugging Face Hub: name them with --pretrained"
    if problem := _untrained(arguments, given):
        return problem
    if arguments.command == "embed" and "gene_table" in given and not given & {"model", "pretrained"}:
        return "--gene-table needs --model or --pretrained: a model trained on IN takes its genes as named there"
    if getattr(arguments, "embedding_only", False) and _same_file(arguments.input, arguments.output):
        return "--embedding-only leaves out the matrix, so OUT must not be IN: name another file to write"
    return ""


def _untrained(arguments: argparse.Namespace, given: set[str]) -> str:
    """Say which options of training are given where nothing is trained; "" where none is."""
    trains = ("labels_key", "unlabeled_category", "batch_key", "save_model", "max_epochs")
    useless = ", ".join(f"--{name.replace('_', '-')}" for name in trains if name in given)
    if not useless:
        return ""
    if arguments.command in ("demo", "embed", "annotate") and "model" in given:
        return f"--model is not trained again, so {useless} would have no effect: leave out one or the other"
    if arguments.command == "embed" and "pretrained" in given:
        return f"--pretrained embeds without training, so {useless} would have no effect: leave out one or the other"
    return ""


def _same_file(first: str, second: str) -> bool:
    return os.path.realpath(first) == os.path.realpath(second)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="genemamba", description="Embeddings and cell types of single cells from a bidirectional Mamba model."
    )
    parser.add_argument("--version", action="version", version=f"genemamba-sc {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_embed(commands)
    _add_annotate(commands)
    add_tokenize(commands)
    add_pretrain(commands)
    selftest = commands.add_parser("selftest", help="check that each backend on each device computes what it should")
    selftest.add_argument("checkpoint", nargs="?", help="folder of weights to check with (default: those that ship)")
    info = commands.add_parser("info", help="versions, device, backend of the scan and why; what a saved model is")
    info.add_argument("model", nargs="?", help="folder of a saved model")
    for command in commands.choices.values():
        command.add_argument("--traceback", action="store_true", help="show where an error arose")
    return parser


def _add_demo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    demo = commands.add_parser(
        "demo", help="train on 700 blood cells that scanpy carries, annotate held-out cells, draw them"
    )
    demo.add_argument("--out", default="genemamba_demo", help="folder for the files (default: %(default)s)")
    demo.add_argument("--model", help="folder of a saved model to use instead of training one")
    _add_training(demo)


def _add_embed(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    embed = commands.add_parser("embed", help="write the embedding of every cell to obsm['X_genemamba']")
    embed.add_argument("input", metavar="IN", help="h5ad to read")
    embed.add_argument("output", metavar="OUT", help="h5ad to write")
    embed.add_argument("--model", help="folder of a saved model; without it one is trained on IN")
    _add_pretrained(
        embed, "embed with pretrained weights, without training: mini, which ships, a folder, or owner/name"
    )
    embed.add_argument("--save-model", help="folder to save the trained model to")
    embed.add_argument("--labels-key", help="column of obs with cell types that shape the embedding in training")
    embed.add_argument(
        "--embedding-only", action="store_true", help="write obs and the embedding without the matrix; IN stays on disk"
    )
    _add_data(embed)
    _add_training(embed)


def _add_annotate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    annotate = commands.add_parser("annotate", help="name the cell types of a query by a labelled reference")
    annotate.add_argument("query", metavar="QUERY", help="h5ad to annotate")
    annotate.add_argument("output", metavar="OUT", help="h5ad to write")
    annotate.add_argument("--reference", metavar="REF", help="h5ad with labelled cells to train on")
    annotate.add_argument("--labels-key", help="column of the reference's obs with the cell types")
    annotate.add_argument("--unlabeled-category", help="value in that column that means «no label»")
    annotate.add_argument("--model", help="folder of a saved model with cell types, in place of a reference")
    _add_pretrained(annotate, "weights to start from: mini, which ships, a folder, or owner/name on the hub")
    annotate.add_argument("--save-model", help="folder to save the trained model to")
    _add_data(annotate)
    _add_training(annotate)


def _add_pretrained(command: argparse.ArgumentParser, help: str) -> None:
    command.add_argument("--pretrained", metavar="NAME", help=help)
    command.add_argument("--revision", help="full commit hash of weights on the Hugging Face Hub")


def _add_data(command: argparse.ArgumentParser) -> None:
    command.add_argument("--layer", help="layer with the expression (default: X)")
    command.add_argument("--batch-key", help="column of obs with the batch of each cell")
    command.add_argument("--gene-id-key", help="column of var with the gene ids (default: var_names)")
    command.add_argument("--gene-table", help="TSV of gene names (HGNC's columns) to resolve aliases with")


def _add_training(command: argparse.ArgumentParser) -> None:
    command.add_argument("--max-epochs", type=_natural, help="passes over the cells (default: by their number)")
    command.add_argument("--seed", type=_natural, default=0, help="seed of the training (default: %(default)s)")
    command.add_argument("--accelerator", default="auto", help="cpu, gpu, mps or auto (default: %(default)s)")


def _natural(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"a whole number of at least 0 is needed, got {text!r}")
    return value
