"""Read the sets of a file for a model: genes that it does not know are left out, and told."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genemamba_sc import GeneMambaModel

# Sets that are named where some are left out.
_MOST_TOLD = 3


def known_sets(model: "GeneMambaModel", sets: dict[str, list[str]], path: str) -> dict[str, list[str]]:
    """Keep the genes of each set that a model knows; a file of sets is made for all genes, a model has some.

    Parameters
    ----------
    model
        The model.
    sets
        Name of each set -> its genes.
    path
        The file that they come from, for the messages.

    Returns
    -------
    The sets of which a gene is left, in their order.

    Raises
    ------
    ValueError
        If no gene of any set is known.

    Warns
    -----
    UserWarning
        If genes or sets are left out.
    """
    from genemamba_sc._warn import warn
    from genemamba_sc.tl._genes import known_genes

    known = {name: known_genes(model, genes) for name, genes in sets.items()}
    left = {name: genes for name, genes in known.items() if genes}
    if not left:
        raise ValueError(
            f"--sets needs genes of the model's vocabulary, which are {model.vocabulary.species}. Got none in "
            f"{path} (sets: {len(sets):,}). Give a file of that species, or --gene-table for older symbols."
        )
    n_all, n_known = (sum(map(len, found.values())) for found in (sets, known))
    if n_known < n_all:
        changed = [name for name, genes in known.items() if len(genes) < len(sets[name])]
        warn(
            f"{path}: {n_all - n_known:,} of {n_all:,} genes of the sets are left out, of sets {_told(changed)}: they "
            "are not in the model's vocabulary, the symbol of several of its genes, or another name of a gene of the "
            "same set."
        )
    if empty := [name for name in sets if name not in left]:
        warn(f"{path}: of {len(sets):,} sets {_told(empty)} are left out: the model knows none of their genes.")
    return left


def _told(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_TOLD:,} more" if len(names) > _MOST_TOLD else ""
    return f"{len(names):,} ({', '.join(map(repr, names[:_MOST_TOLD]))}{more})"
