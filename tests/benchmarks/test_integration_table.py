"""The table of integration, whole."""

import importlib.util
from pathlib import Path

import methods


def test_the_table_of_integration_has_a_section_for_each_part_of_the_cells():
    # Its file has the name of another room's, which `import table` would find first.
    path = Path(methods.__file__).with_name("table.py")
    spec = importlib.util.spec_from_file_location("integration_table", path)
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    row = dict.fromkeys(table.METRICS, 0.5) | {"set": "s", "method": "m", "seconds": 2.0, "n_scored": 8}
    row |= {"knn_types": {"a": 0.25}, "knn_single": {}, "knn_worst_some": None, "scored_on": "all", "seed": 0}
    rows = [row, row | {"seed": 1, "avg_bio": 0.7, "seconds": 3.0}, row | {"scored_on": "unlabelled", "n_scored": 4}]
    numbers = "0.500 ± 0.000 | " * 9
    assert table.report(rows).removeprefix(table.INTRODUCTION + "\n\n").splitlines() == [
        "### s (8 cells)",
        "",
        "| method | seeds | " + " | ".join(table.METRICS.values()) + " | seconds |",
        "| --- " * 14 + "|",
        f"| m | 2 | 0.600 ± 0.141 | {numbers}– | 2 |",
        "",
        "Accuracy of the types across batches:",
        "",
        "| method | a |",
        "| --- | --- |",
        "| m | 0.250 |",
        "",
        "### s, cells whose labels were not given (4 cells)",
        "",
        "| method | seeds | " + " | ".join(table.METRICS.values()) + " | seconds |",
        "| --- " * 14 + "|",
        "| m | 1 | " + "0.500 | " * 10 + "– | 2 |",
        "",
        "Accuracy of the types across batches:",
        "",
        "| method | a |",
        "| --- | --- |",
        "| m | 0.250 |",
    ]
