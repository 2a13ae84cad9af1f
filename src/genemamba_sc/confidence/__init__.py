"""Say how sure an annotation is: label sets, temperature, cells of no known type, votes of clusters; without torch."""

from genemamba_sc.confidence._calibration import Calibration, unknown_share
from genemamba_sc.confidence._known_cells import KnownCells, fit_known_cells
from genemamba_sc.confidence._label_sets import SEPARATOR, LabelSets, check_coverage, fewest_cells, require_cells
from genemamba_sc.confidence._shift import Shift
from genemamba_sc.confidence._temperature import fit_temperature, probabilities_of
from genemamba_sc.confidence._voting import most_frequent, over_clustering_resolution

__all__ = [
    "SEPARATOR",
    "Calibration",
    "KnownCells",
    "LabelSets",
    "Shift",
    "check_coverage",
    "fewest_cells",
    "fit_known_cells",
    "fit_temperature",
    "most_frequent",
    "over_clustering_resolution",
    "probabilities_of",
    "require_cells",
    "unknown_share",
]
