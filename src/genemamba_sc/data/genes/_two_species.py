"""Tell genes of two species in one file, as mixtures of human and mouse cells have them."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from genemamba_sc._warn import warn
from genemamba_sc.data.genes._gene_names import species_of_id

# What Cell Ranger puts before the genes of a reference of two genomes.
_GENOME = re.compile(r"(GRCh|hg|GRCm|mm)\d+_+")
_SPECIES_OF_GENOME: Final = {"GRCh": "human", "hg": "human", "GRCm": "mouse", "mm": "mouse"}
# Fewer are genes that somebody put into the genome of the other species.
_LEAST = 0.01


def shares_of_species(names: Sequence[str]) -> dict[str, float]:
    """Compute the share of each species among the genes whose Ensembl id, or genome before the name, tells it.

    Parameters
    ----------
    names
        Gene names.

    Returns
    -------
    Species -> share, the largest first; empty where no name tells.
    """
    told: Counter[str] = Counter()
    for name in names:
        genome = _GENOME.match(name)
        if genome is not None:
            told[_SPECIES_OF_GENOME[genome.group(1)]] += 1
        elif (species := species_of_id(name)) is not None:
            told[species] += 1
    return {species: n / told.total() for species, n in told.most_common()}


def warn_of_two_species(shares: Mapping[str, float]) -> None:
    """Warn where genes of a second species stand beside those of the first.

    Parameters
    ----------
    shares
        What :func:`shares_of_species` found.

    Warns
    -----
    UserWarning
        If at least 1 % of the genes are of a second species.
    """
    several = {species: share for species, share in shares.items() if share >= _LEAST}
    if len(several) > 1:
        first, *_ = several
        parts = ", ".join(f"{species} {share:.1%}" for species, share in several.items())
        warn(
            f"The genes are of several species ({parts}), and values are relative to the counts of all of them. Keep "
            f"the cells and genes of one, e.g. of {first}: adata = adata[:, is_{first}].copy(), where the mask tells "
            "them by their ids."
        )
