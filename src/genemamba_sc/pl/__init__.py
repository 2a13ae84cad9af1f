"""Draw pictures of what models and reports hold; only this room imports matplotlib.

Importing it loads nothing that draws: the functions are loaded when they are first used.
"""

from typing import TYPE_CHECKING

from genemamba_sc._lazy import lazily

if TYPE_CHECKING:
    from genemamba_sc.pl._attribution import attribution
    from genemamba_sc.pl._benchmark import benchmark
    from genemamba_sc.pl._colours import share_colours
    from genemamba_sc.pl._confidence import confidence
    from genemamba_sc.pl._confusion import confusion_matrix
    from genemamba_sc.pl._integration import integration
    from genemamba_sc.pl._markers import markers
    from genemamba_sc.pl._network import network
    from genemamba_sc.pl._perturbation import perturbation
    from genemamba_sc.pl._reconstruction import reconstruction
    from genemamba_sc.pl._save import save_figure
    from genemamba_sc.pl._umap import umap

__all__ = [
    "attribution",
    "benchmark",
    "confidence",
    "confusion_matrix",
    "integration",
    "markers",
    "network",
    "perturbation",
    "reconstruction",
    "save_figure",
    "share_colours",
    "umap",
]

_HOMES = {
    "attribution": "_attribution",
    "confidence": "_confidence",
    "benchmark": "_benchmark",
    "confusion_matrix": "_confusion",
    "integration": "_integration",
    "markers": "_markers",
    "network": "_network",
    "perturbation": "_perturbation",
    "reconstruction": "_reconstruction",
    "save_figure": "_save",
    "share_colours": "_colours",
    "umap": "_umap",
}

__getattr__ = lazily(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
