"""The counts of the fuzz runs are added up, and a process that died is seen."""

import json
from pathlib import Path

from fuzz import summed, table


def test_counts_of_several_runs_are_added_by_reader(tmp_path: Path):
    one = {"name": "GMT", "cases": 1500, "returned": 1000, "refused": 498, "foreign": {"a": 2}, "longest": 0.5}
    two = {**one, "foreign": {}, "longest": 2.0, "crashes": 1, "grown_mb": 7.6}
    for number, counts in enumerate((one | {"grown_mb": 3.0}, two)):
        (tmp_path / f"log-{number}").mkdir()
        (tmp_path / f"log-{number}" / "gmt.json").write_text(json.dumps(counts))
    lines = table(summed(tmp_path), "fuzz.py").splitlines()
    assert "| GMT | 3,000 | 2,000 | 996 | 2 | 1 | 2.00 | 8 |" in lines
    assert lines[-1] == "| all | 3,000 | 2,000 | 996 | 2 | 1 | 2.00 | |"
