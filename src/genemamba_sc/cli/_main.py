"""Run the command line ``genemamba COMMAND``; the commands are the modules of :mod:`genemamba_sc.cli.commands`.

Results go to stdout, progress and warnings to stderr. The exit codes are 0 for done, 1 if the input or the machine did
not allow it (the message says what is wrong and the way out), 2 for wrong usage, and 130 for interrupted. Output files
are written whole or not at all.
"""

import argparse
import contextlib
import difflib
import pkgutil
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

from genemamba_sc._version import __version__
from genemamba_sc.cli import commands
from genemamba_sc.cli._environment import prepare_libraries, prepare_streams

_EXIT_ERROR, _EXIT_INTERRUPTED = 1, 130
_CAN_GO_ON = ("pretrain",)


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
    modules = command_modules()
    parser = _parser(modules)
    arguments = parser.parse_args(_with_default(sys.argv[1:] if argv is None else list(argv), modules))
    command, name = arguments.command_module, arguments.command_name
    if problem := getattr(command, "check", _nothing_wrong)(arguments):
        parser.error(problem)
    # The commands import torch and scvi-tools, which takes seconds: help and usage errors must not wait for that.
    prepare_libraries()
    try:
        # scvi-tools writes progress bars and remarks to stdout, where only the result belongs.
        with contextlib.redirect_stdout(sys.stderr):
            result = command.run(arguments)
    except KeyboardInterrupt as error:
        told = str(error) if name in _CAN_GO_ON else ""  # what else was learned ends with the command
        print(f"genemamba {name}: {told or 'interrupted; nothing is half-written.'}", file=sys.stderr)
        return _EXIT_INTERRUPTED
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        if arguments.traceback:
            raise
        print(f"genemamba {name}: {error}", file=sys.stderr)
        return _EXIT_ERROR
    if result:  # of several processes one speaks
        print(result)
    return 0 if getattr(result, "ok", True) else _EXIT_ERROR  # a report can be a bad one


def command_modules(package: ModuleType = commands) -> dict[str, ModuleType]:
    """Return the module of each command of a package, by name; a module that is a package itself holds commands."""
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return {name: import_module(f"{package.__name__}.{name}") for name in names}


def _with_default(argv: list[str], modules: dict[str, ModuleType]) -> list[str]:
    """Put in the question that is meant where a group of commands is asked none."""
    group = modules.get(argv[0]) if argv else None
    if group is None or not hasattr(group, "DEFAULT") or len(argv) < 2:
        return argv
    names = [*command_modules(group), "-h", "--help"]
    # A name that is nearly a question is one with a slip, unless it names a model: argparse lists the questions then.
    # Weights on the Hub (lab/markers) and paths have a slash, which no question has.
    names_model = "/" in argv[1] or Path(argv[1]).exists()
    slipped = difflib.get_close_matches(argv[1], names, n=1) and not names_model
    return argv if slipped else [argv[0], group.DEFAULT, *argv[1:]]


def _parser(modules: dict[str, ModuleType]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="genemamba", description="Embeddings and cell types of single cells from a bidirectional Mamba model."
    )
    parser.add_argument("--version", action="version", version=f"genemamba-sc {__version__}")
    _add_commands(parser, modules, "")
    return parser


def _add_commands(parser: argparse.ArgumentParser, modules: dict[str, ModuleType], group: str) -> None:
    subparsers = parser.add_subparsers(required=True, metavar="QUESTION" if group else "COMMAND")
    for name, module in modules.items():
        command = subparsers.add_parser(name, help=(module.__doc__ or "").splitlines()[0])
        if hasattr(module, "DEFAULT"):
            _add_commands(command, command_modules(module), f"{name} ")
            continue
        module.add(command)
        command.add_argument("--traceback", action="store_true", help="show where an error arose")
        command.set_defaults(command_module=module, command_name=f"{group}{name}")


def _nothing_wrong(arguments: argparse.Namespace) -> str:
    return ""
