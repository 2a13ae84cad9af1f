"""Check weights and machines: contamination, leaks, layers that were never trained, backends that compute wrongly."""

from genemamba_sc.checks._contamination import check_contamination
from genemamba_sc.checks._contamination_manifest import ContaminationManifest, contamination_manifest
from genemamba_sc.checks._contamination_report import ContaminationReport
from genemamba_sc.checks._leak import LeakReport, measure_leak
from genemamba_sc.checks._selftest import SelftestReport, selftest
from genemamba_sc.checks._selftest_cells import write_reference_cells
from genemamba_sc.checks._types_told import TypeComparison
from genemamba_sc.checks._weights import CheckpointReport, checkpoint_report
from genemamba_sc.model._random_vectors import RandomComparison

__all__ = [
    "CheckpointReport",
    "ContaminationManifest",
    "ContaminationReport",
    "LeakReport",
    "RandomComparison",
    "SelftestReport",
    "TypeComparison",
    "check_contamination",
    "checkpoint_report",
    "contamination_manifest",
    "measure_leak",
    "selftest",
    "write_reference_cells",
]
