"""Options of ``genemamba tokenize`` and ``genemamba pretrain``; light, for help must not wait for torch."""

import argparse
import os


def add_tokenize(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``genemamba tokenize`` to the command line.

    Parameters
    ----------
    commands
        Of the parser.
    """
    tokenize = commands.add_parser("tokenize", help="turn h5ad files and zarr folders into a corpus to pretrain on")
    tokenize.add_argument("files", nargs="+", metavar="FILES", help="h5ad files or zarr folders, in a fixed order")
    tokenize.add_argument("output", metavar="OUT", help="folder of the corpus; a run that was killed goes on in it")
    _add_vocabulary(tokenize, "default: the genes of the files")
    tokenize.add_argument("--max-len", type=_positive, default=2048, help="tokens kept per cell (default: %(default)s)")
    tokenize.add_argument("--layer", help="layer with the expression, in all files (default: X)")
    tokenize.add_argument("--gene-id-key", help="column of var with the gene ids (default: var_names)")
    tokenize.add_argument(
        "--min-genes", type=_positive, default=1, help="drop cells with fewer genes (default: %(default)s)"
    )
    cores = os.cpu_count() or 1
    tokenize.add_argument("--jobs", type=_positive, default=cores, help="processes (default: all cores, %(default)s)")


def add_pretrain(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``genemamba pretrain`` to the command line.

    Parameters
    ----------
    commands
        Of the parser.
    """
    pretrain = commands.add_parser("pretrain", help="train an encoder on a corpus, on one device or many machines")
    pretrain.add_argument("corpus", metavar="CORPUS", help="folder that genemamba tokenize wrote, or of datasets")
    pretrain.add_argument("output", metavar="OUT", help="folder for the weights; the state of the run is in OUT.run")
    _add_vocabulary(pretrain, "for a corpus that does not bring its own")
    pretrain.add_argument("--size", choices=("mini", "small", "base", "published"), default="mini", help="the encoder")
    pretrain.add_argument("--pathways", metavar="GMT", help="gene sets for the pathway-aware contrast")
    pretrain.add_argument(
        "--objective", action="append", type=_setting, metavar="NAME=VALUE", help="a field of ObjectiveConfig; repeat"
    )
    _add_optimisation(pretrain)
    _add_batches(pretrain)
    _add_machines(pretrain)


def _add_vocabulary(command: argparse.ArgumentParser, otherwise: str) -> None:
    command.add_argument("--vocabulary", metavar="TSV", help=f"table of the genes that have tokens ({otherwise})")


def _add_optimisation(pretrain: argparse.ArgumentParser) -> None:
    length = pretrain.add_mutually_exclusive_group(required=True)
    length.add_argument("--max-steps", type=_positive, help="steps of the optimiser")
    length.add_argument("--max-epochs", type=_positive, help="passes over the cells, in place of steps")
    pretrain.add_argument("--lr", type=float, default=1e-3, help="peak learning rate (default: %(default)s)")
    pretrain.add_argument("--warmup", type=float, default=0.02, help="share of the steps (default: %(default)s)")
    pretrain.add_argument("--clip", type=float, default=1.0, help="largest norm of the gradient (default: %(default)s)")
    pretrain.add_argument("--ema", type=float, default=0.0, help="decay of averaged weights (default: no average)")
    pretrain.add_argument("--seed", type=_natural, default=0, help="of all that is drawn (default: %(default)s)")
    pretrain.add_argument(
        "--resume", default="auto", metavar="auto|PATH", help="go on from OUT.run where there is one, or from a file"
    )


def _add_batches(pretrain: argparse.ArgumentParser) -> None:
    pretrain.add_argument(
        "--token-budget", type=_positive, default=32_768, help="padded tokens of a batch (default: %(default)s)"
    )
    pretrain.add_argument("--accumulate", type=_positive, default=1, help="batches per step and process")
    pretrain.add_argument("--max-len", type=_positive, help="tokens read of each cell (default: all of the corpus)")
    pretrain.add_argument("--validation-cells", type=_natural, default=0, help="cells held out (default: %(default)s)")
    pretrain.add_argument("--save-every", type=_positive, default=500, help="steps (default: %(default)s)")
    pretrain.add_argument("--log-every", type=_positive, default=10, help="steps (default: %(default)s)")


def _add_machines(pretrain: argparse.ArgumentParser) -> None:
    pretrain.add_argument("--accelerator", default="auto", help="cpu, gpu or auto (default: %(default)s)")
    pretrain.add_argument("--devices", type=_devices, default=1, help="per machine, or auto (default: %(default)s)")
    pretrain.add_argument("--num-nodes", type=_positive, default=1, help="machines (default: %(default)s)")
    pretrain.add_argument("--strategy", choices=("auto", "ddp", "fsdp"), default="auto", help="how devices share")
    pretrain.add_argument("--precision", choices=("32", "bf16-mixed"), default="32", help="(default: %(default)s)")
    pretrain.add_argument("--activation-checkpointing", action="store_true", help="less memory, more time")
    pretrain.add_argument("--workers", type=_natural, default=0, help="processes that read ahead, per device")


def _natural(text: str) -> int:
    return _whole(text, 0)


def _positive(text: str) -> int:
    return _whole(text, 1)


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"a whole number of at least {least} is needed, got {text!r}")
    return int(text)


def _devices(text: str) -> int | str:
    return text if text == "auto" else _positive(text)


def _setting(text: str) -> tuple[str, float | int | bool | str]:
    """Read NAME=VALUE; the value as a number or a truth where it is written like one."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"NAME=VALUE is needed, such as mask_rate=0.3, got {text!r}")
    if value in ("true", "false"):
        return name, value == "true"
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, value
