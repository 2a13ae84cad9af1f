"""delete or move genes in cells: what embedding and types make of it"""  # noqa: D400

import argparse
from typing import TYPE_CHECKING

from genemamba_sc.cli import _genes as genes
from genemamba_sc.cli._gene_sets import known_sets
from genemamba_sc.cli._options import natural

if TYPE_CHECKING:
    from anndata import AnnData

    from genemamba_sc import GeneMambaModel


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    genes.add_model(parser)
    genes.add_cells(parser)
    named = genes.add_genes(parser)
    named.add_argument("--sets", metavar="GMT", help="file of sets whose genes are perturbed together")
    add_change(parser)
    parser.add_argument("--groupby", metavar="COLUMN", help="column of obs whose groups are averaged apart")
    parser.add_argument("--cell-type", help="type whose probability --plot draws (default: the embedding)")
    parser.add_argument("--group", help="group that --plot draws (default: the first)")
    genes.add_out(parser, draws=True)


def add_change(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is done to a gene."""
    parser.add_argument("--kind", choices=("delete", "top", "shift"), default="delete", help="default: %(default)s")
    parser.add_argument("--shift", type=genes.integer, default=0, help="places up, or down if negative; of shift only")
    parser.add_argument("--n-controls", type=natural, default=20, help="matched genes of each gene (%(default)s)")


def wrong_change(arguments: argparse.Namespace) -> str:
    """Say what is wrong with the options of :func:`add_change`."""
    if (arguments.kind == "shift") != (arguments.shift != 0):
        return "--kind shift and --shift PLACES belong together: give both, or neither"
    return ""


def check(arguments: argparse.Namespace) -> str:
    """Say what is wrong with the options."""
    if arguments.sets is not None and (arguments.kind == "shift" or arguments.groupby is not None):
        return "--sets are deleted or put at the top, in all cells: leave out --kind shift and --groupby"
    if arguments.plot is None and (arguments.cell_type is not None or arguments.group is not None):
        return "--cell-type and --group say what --plot draws: give --plot, too"
    if arguments.sets is not None and arguments.group is not None:
        return "--sets are perturbed in all cells: leave out --group"
    return wrong_change(arguments)


def _check_drawn(arguments: argparse.Namespace, model: "GeneMambaModel", cells: "AnnData") -> None:
    """Refuse, before any work, a type or a group that could not be drawn."""
    from genemamba_sc.tl._names import numbered

    if arguments.cell_type is not None:
        numbered("--cell-type", arguments.cell_type, [str(name) for name in model.cell_types])
    if arguments.group is not None and arguments.groupby is None:
        numbered("--group", arguments.group, ["all"])
    elif arguments.group is not None and arguments.groupby in cells.obs:
        numbered("--group", arguments.group, sorted(set(cells.obs[arguments.groupby].astype(str))))


def run(arguments: argparse.Namespace) -> str:
    """Give a row per gene and group, or per set."""
    from genemamba_sc.data.genes._gmt import read_gmt
    from genemamba_sc.tl import perturb, perturb_together

    genes.check_files(arguments)
    named = None if arguments.sets is not None else genes.named_genes(arguments)
    sets = None if arguments.sets is None else read_gmt(arguments.sets)
    model, cells = genes.load_model(arguments), genes.read_asked(arguments, arguments.cells)
    asked = {"kind": arguments.kind, "n_controls": arguments.n_controls, **genes.where(arguments)}
    which = {"cell_type": arguments.cell_type}
    _check_drawn(arguments, model, cells)
    if sets is not None:
        joint = perturb_together(model, cells, known_sets(model, sets, arguments.sets), **asked)
        return genes.as_table_and_picture(joint.to_frame(), arguments, lambda: joint.plot(**which), index=True)
    found = perturb(model, cells, named or [], shift=arguments.shift, groupby=arguments.groupby, **asked)
    return genes.as_table_and_picture(found.to_frame(), arguments, lambda: found.plot(group=arguments.group, **which))
