"""What ``genemamba selftest`` does."""

import argparse

from genemamba_sc.checks._selftest import SelftestReport
from genemamba_sc.checks._selftest import selftest as run_selftest


def selftest(arguments: argparse.Namespace) -> SelftestReport:
    """Check every backend on every device; the command ends with 1 where the report is not ok."""
    return run_selftest(arguments.checkpoint)
