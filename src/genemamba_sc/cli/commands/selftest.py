"""check that each backend on each device computes what it should"""  # noqa: D400

import argparse


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("checkpoint", nargs="?", help="folder of weights to check with (default: those that ship)")


def run(arguments: argparse.Namespace) -> object:
    """Check every backend on every device; the command ends with 1 where the report is not ok."""
    from genemamba_sc.checks import selftest

    return selftest(arguments.checkpoint)
