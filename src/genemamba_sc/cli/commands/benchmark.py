"""compare with baselines on your own cells, and say who won"""  # noqa: D400

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from genemamba_sc.cli._options import add_expression, natural, positive

if TYPE_CHECKING:
    from genemamba_sc.benchmark import BenchmarkReport
    from genemamba_sc.cli._steps import Steps


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("input", metavar="FILE", help="h5ad, h5mu, zarr folder, or 10x file or folder with cell types")
    parser.add_argument("--labels-key", required=True, help="column of obs with the cell types")
    parser.add_argument("--batch-key", help="column of obs with the batches; integration is compared, too")
    parser.add_argument("--unlabeled-category", help="value of the labels that means no label")
    parser.add_argument(
        "--splits",
        nargs="+",
        metavar="SPLIT",
        help="random, batch, few:10, few:0.05, query, query:COLUMN=VALUE; separated by spaces or commas (VALUE may "
        "have commas: what follows one is a split of its own only where it has one of these forms)",
    )
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help="names, or all (default: all that are quick)")
    parser.add_argument("--seeds", type=positive, default=3, help="number of seeds (default: %(default)s)")
    parser.add_argument("--query", metavar="FILE", help="file of cells to be tested by the split query")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder for the results; a second run goes on")
    add_expression(parser)
    parser.add_argument("--max-epochs", type=natural, help="passes over the cells (default: by their number)")
    parser.add_argument("--accelerator", default="auto", help="cpu, gpu, mps or auto (default: %(default)s)")


def check(arguments: argparse.Namespace) -> str:
    """Say what is wrong with the options."""
    from genemamba_sc.benchmark.runs._choices import chosen_methods, chosen_splits

    for name in ("splits", "methods"):  # separated by spaces or by commas
        given = getattr(arguments, name)
        setattr(arguments, name, given and [part for item in given for part in _at_commas(item) if part])
    several = arguments.batch_key is not None
    try:
        chosen_splits(arguments.splits, has_batches=several, has_query=arguments.query is not None)
        chosen_methods(arguments.methods, integrates=several)
    except ValueError as error:
        return str(error)
    return ""


def _at_commas(item: str) -> list[str]:
    """Part an item at its commas, but not at those in the value of a query, such as "lane 1, second run"."""
    found: list[str] = []
    for part in item.split(","):
        if found and found[-1].startswith("query:") and not _begins_split(part):
            found[-1] += f",{part}"
        else:
            found.append(part)
    return [part.rstrip(",") for part in found]  # "query:donor=1, random" comes as two items


def _begins_split(text: str) -> bool:
    from genemamba_sc.benchmark.runs._choices import SplitChoice

    if text.startswith("query:"):  # its column may have a comma, so that this is a part of it only
        return True
    try:
        SplitChoice.parse(text)
    except ValueError:
        return False
    return True


def run(arguments: argparse.Namespace) -> "BenchmarkReport":
    """Write a table, a figure and everything that was measured; give the table."""
    from genemamba_sc.cli._steps import Steps

    step, folder = Steps(4), Path(arguments.out)
    with step("load PyTorch, scvi-tools and scanpy"):
        from genemamba_sc.benchmark.results._folder import check_folder, no_empty_folder
    with no_empty_folder(folder):
        check_folder(folder)
        return _run(arguments, folder, step)


def _run(arguments: argparse.Namespace, folder: Path, step: "Steps") -> "BenchmarkReport":
    from genemamba_sc.benchmark import report
    from genemamba_sc.cli import _models as models
    from genemamba_sc.cli._cells import read_cells

    models.check_accelerator(arguments.accelerator)
    place = models.place(arguments)
    with step("read the cells"):
        cells = read_cells(arguments.input, place)
        query = None if arguments.query is None else read_cells(arguments.query, place)
    names = ("splits", "seeds", "methods", "unlabeled_category", "layer", "gene_id_key", "scale")
    train = {name: getattr(arguments, name) for name in ("accelerator", "max_epochs")}
    with step("check the cells, and run each method", speaks=True):
        found = report(
            cells,
            arguments.labels_key,
            arguments.batch_key,
            query=query,
            folder=folder,
            train_kwargs={name: value for name, value in train.items() if value is not None},
            **{name: getattr(arguments, name) for name in names},
        )
    with step(f"write the table and the figure to {folder}"):
        _write(found, folder)
    return found


def _write(report: "BenchmarkReport", folder: Path) -> None:
    from genemamba_sc._files import replacing_file
    from genemamba_sc.pl import save_figure

    with replacing_file(folder / "report.md") as temporary:
        temporary.write_text(str(report), encoding="utf-8")
    report.to_json(folder / "report.json")
    if report.rows:
        save_figure(report.plot(), folder / "report.png")
