"""check your copy of a published data set, and show its splits and the published figures"""  # noqa: D400

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genemamba_sc.benchmark.published import PublishedData, PublishedSet


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("name", metavar="NAME", help="name of the set, such as hPancreas, MS, Immune")
    parser.add_argument(
        "path", metavar="PATH", nargs="?", help="its file or folder (default: only say what is documented)"
    )
    parser.add_argument("--trained-on", metavar="FILE", help="for MS: c_data or filtered_ms_adata")


def run(arguments: argparse.Namespace) -> "PublishedSet | PublishedData":
    """Give what was checked, the splits, and the published figures with their sources; not ok where nothing agrees."""
    from genemamba_sc.benchmark.published import published_set, read_published

    facts = published_set(arguments.name)
    if arguments.path is None:
        return facts
    return read_published(facts.name, arguments.path, trained_on=arguments.trained_on)


def check(arguments: argparse.Namespace) -> str:
    """Say what is wrong with the options."""
    if arguments.path is None and arguments.trained_on is not None:
        return "--trained-on is about the files of a set: give its PATH, too"
    return ""
