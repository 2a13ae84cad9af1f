"""Provide tools: what a model tells about genes and cells; functions of ``(model, adata)``, one file a task.

Importing it loads nothing heavy: the functions are loaded when they are first used.
"""

from typing import TYPE_CHECKING

from genemamba_sc._lazy import lazily

if TYPE_CHECKING:
    from genemamba_sc.tl._perturbation import Perturbation, perturb
    from genemamba_sc.tl._reconstruction import RankReconstruction, reconstruct_ranks

__all__ = ["Perturbation", "RankReconstruction", "perturb", "reconstruct_ranks"]

_HOMES = {
    "Perturbation": "_perturbation",
    "RankReconstruction": "_reconstruction",
    "perturb": "_perturbation",
    "reconstruct_ranks": "_reconstruction",
}

__getattr__ = lazily(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
