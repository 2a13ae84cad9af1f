"""Print the tables of a results file as markdown.

python benchmarks/integration/table.py benchmarks/integration/results/integration.jsonl
"""

import argparse
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "annotation"))
from rows import Row, read_rows

METRICS = {
    "avg_bio": "bio",
    "avg_batch": "batch",
    "ilisi": "iLISI",
    "nmi": "NMI",
    "ari": "ARI",
    "asw_label": "ASW label",
    "asw_batch": "ASW batch",
    "graph_connectivity": "connectivity",
    "knn_accuracy": "kNN across batches",
    "knn_worst_all": "worst type, in all batches",
    "knn_worst_some": "worst type, in some",
}
INTRODUCTION = """\
Mean ± sd over seeds where there are several. bio = mean(NMI, ARI, ASW label), batch = mean(ASW batch, connectivity);
kNN: 15 nearest cells of all *other* batches tell the type; accuracy over cells, and of the worst type among those that
all batches have and among those that some lack. A type of fewer than 15 cells in the other batches can hardly win that
vote (Megakaryocytes, Dendritic Cells of pbmc_chemistries). Seconds are of one busy core and include what a method
starts from; they say nothing finer than a factor of three."""


def number(values: list[float | None]) -> str:
    """Mean and sample standard deviation; a dash where nothing was measured."""
    found = [value for value in values if value is not None]
    if not found:
        return "–"
    mean = f"{statistics.mean(found):.3f}"
    return mean if len(found) == 1 else f"{mean} ± {statistics.stdev(found):.3f}"


def ordered(names: Iterable[str]) -> list[str]:
    """Each name once, in the order of the first."""
    return list(dict.fromkeys(names))


def markdown(header: list[str], body: list[list[str]]) -> list[str]:
    """Lines of a table."""
    return ["| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *body)]


def scores(rows: list[Row]) -> list[str]:
    """All methods of one set and one part of its cells."""
    body = []
    for method in ordered(row["method"] for row in rows):
        of = [row for row in rows if row["method"] == method]
        seconds = f"{statistics.mean(row['seconds'] for row in of):.0f}"
        body.append([method, str(len(of)), *(number([row[name] for row in of]) for name in METRICS), seconds])
    return markdown(["method", "seeds", *METRICS.values(), "seconds"], body)


def per_type(rows: list[Row], field: str) -> list[str]:
    """Accuracy of each type, means over seeds; nothing where no row has any."""
    types = ordered(name for row in rows for name in sorted(row[field]))
    if not types:
        return []
    body = []
    for method in ordered(row["method"] for row in rows):
        of = [row[field] for row in rows if row["method"] == method]
        body.append([method, *(f"{statistics.mean(row[name] for row in of):.3f}" for name in types)])
    return markdown(["method", *types], body)


def section(name: str, part: str, rows: list[Row]) -> list[str]:
    """What is said about one set and one part of its cells."""
    among = "" if part == "all" else f", cells whose labels were {'given' if part == 'labelled' else 'not given'}"
    text = ["", f"### {name}{among} ({rows[0]['n_scored']:,} cells)", "", *scores(rows)]
    text += ["", "Accuracy of the types across batches:", "", *per_type(rows, "knn_types")]
    single = per_type(rows, "knn_single")
    if single:
        text += ["", "Types of a single batch, 15 nearest of all other cells:", "", *single]
    return text


def report(rows: list[Row]) -> str:
    """All tables of a results file."""
    text = [INTRODUCTION]
    for name in ordered(row["set"] for row in rows):
        for part in ("all", "unlabelled", "labelled"):
            found = [row for row in rows if (row["set"], row["scored_on"]) == (name, part)]
            text += section(name, part, found) if found else []
    return "\n".join(text) + "\n"


def main() -> None:
    """To stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    rows = read_rows(parser.parse_args().results)
    if not rows:
        raise SystemExit("A table needs results. The file has none: run benchmarks/integration/run.py first.")
    print(report(rows), end="")


if __name__ == "__main__":
    main()
