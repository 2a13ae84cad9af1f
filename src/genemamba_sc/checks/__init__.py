"""Check weights and machines: contamination, leaks, layers that were never trained, backends that compute wrongly."""

from genemamba_sc.checks._contamination import check_contamination
from genemamba_sc.checks._contamination_report import ContaminationReport
from genemamba_sc.checks._leak import LeakReport, measure_leak
from genemamba_sc.checks._selftest import SelftestReport, selftest
from genemamba_sc.checks._selftest_cells import write_reference_cells
from genemamba_sc.checks._weights import CheckpointReport, checkpoint_report

__all__ = [
    "CheckpointReport",
    "ContaminationReport",
    "LeakReport",
    "SelftestReport",
    "check_contamination",
    "checkpoint_report",
    "measure_leak",
    "selftest",
    "write_reference_cells",
]
