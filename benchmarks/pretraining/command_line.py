"""What the scripts that record rows share: where rows go, and printing them as a table."""

import argparse
from collections.abc import Callable
from pathlib import Path


def parse(parser: argparse.ArgumentParser, table: Callable[[Path], str], needed: tuple[str, ...]) -> argparse.Namespace:
    """Add ``--out`` and ``--table`` and read the command line.

    With ``--table FILE`` the table of a file is printed and nothing else is done; without it ``--out`` and the options
    in ``needed`` must be given.
    """
    parser.add_argument("--out", type=Path, help="JSON lines, to which rows are added")
    parser.add_argument("--table", type=Path, help="print the table of a file, and nothing else")
    options = parser.parse_args()
    if options.table:
        print(table(options.table))
        parser.exit()
    missing = [f"--{name}" for name in (*needed, "out") if getattr(options, name) is None]
    if missing:
        parser.error(f"{' and '.join(missing)} needed, or --table")
    return options
