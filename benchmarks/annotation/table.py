"""Print the tables of a results file as markdown.

python benchmarks/annotation/table.py benchmarks/annotation/results/annotation.jsonl
"""

import argparse
import json
import statistics
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from rows import Row, read_rows

RECORDED = Path(__file__).with_name("baselines_recorded.json")
OURS = ("genemamba", "bag", "linear_head", "random_encoder")
JUDGED = "genemamba"
METRICS = ("accuracy", "macro_f1")
MARGIN = 1.5  # points: about one standard error of the smaller test parts
ACROSS_STUDIES = "immune_3studies"
ROWS = tuple((name, "stratified") for name in ("pbmc3k", "zheng_sorted", "kang_ctrl", "onek1k", "cell_lines")) + tuple(
    (name, "batch") for name in ("kang_ctrl", "onek1k", "cell_lines", ACROSS_STUDIES)
)
STUDIES = ("zheng_sorted", "pbmc3k", "kang_ctrl")


@dataclass(frozen=True)
class Score:
    """Mean and standard deviation in per cent over ``n`` splits; no deviation of one."""

    mean: float
    sd: float | None
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.1f}" if self.sd is None else f"{self.mean:.1f}±{self.sd:.1f}"


Line = tuple[str, ...]  # (set, split) of the main table, (held-out study,) of the other
Scores = dict[Line, dict[str, dict[str, Score]]]  # line -> method -> metric -> score


def summarise(values: list[float]) -> Score:
    """Of shares: mean and sample standard deviation, in per cent."""
    points = [100 * value for value in values]
    return Score(statistics.mean(points), statistics.stdev(points) if len(points) > 1 else None, len(points))


def collect(rows: list[Row], by_study: bool = False, source: str = "") -> Scores:
    """Scores of the rows: over seeds where cells were drawn, over batches (each the mean of its seeds) elsewhere."""
    units: dict = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if by_study and (row["set"], row["split"]) != (ACROSS_STUDIES, "batch"):
            continue
        line = (row["held_out"],) if by_study else (row["set"], row["split"])
        unit = row["held_out"] if row["split"] == "batch" and not by_study else row["seed"]
        values = row.get(source, {}) if source else row
        for metric, value in values.items():
            if source or metric in METRICS:
                units[line, row["method"], metric][unit].append(value)
    found: Scores = defaultdict(lambda: defaultdict(dict))
    for (line, method, metric), values_of_unit in units.items():
        found[line][method][metric] = summarise([statistics.mean(values) for values in values_of_unit.values()])
    return found


def recorded(path: Path, by_study: bool = False) -> Scores:
    """The figures measured before, as ``method*``."""
    found: Scores = defaultdict(lambda: defaultdict(dict))
    for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
        if bool(row["held_out"]) == by_study:
            line = (row["held_out"],) if by_study else (row["set"], row["split"])
            for metric in METRICS:
                found[line][row["method"] + "*"][metric] = Score(row[metric], row[f"{metric}_sd"], row["n_splits"])
    return found


def best_baseline(scores: dict[str, dict[str, Score]], metric: str) -> tuple[str, float] | None:
    """Name and mean of the best method that is not ours."""
    means = [(of[metric].mean, name) for name, of in scores.items() if name not in OURS and metric in of]
    if not means:
        return None
    mean, name = max(means, key=lambda pair: pair[0])
    return name, mean


def difference(scores: dict[str, dict[str, Score]], metric: str) -> float | None:
    """Points of genemamba above the best baseline."""
    best = best_baseline(scores, metric)
    if best is None or metric not in scores.get(JUDGED, {}):
        return None
    return round(scores[JUDGED][metric].mean - best[1], 6)  # 91.3 - 92.8 is -1.5, not -1.5000000000000142


def cell(of: dict[str, Score], most: int | None, metrics: tuple[str, ...] = METRICS) -> str:
    """``accuracy / macro-F1``, and ``[n]`` where there were fewer splits than other methods had."""
    if not of:
        return "–"
    text = " / ".join(str(of[metric]) for metric in metrics)
    n = of[metrics[0]].n
    return text if most is None or n == most else f"{text} [{n}]"


def markdown(header: list[str], body: list[list[str]]) -> list[str]:
    """Lines of a table."""
    rule = "|" + "---|" * len(header)
    return [f"| {' | '.join(header)} |", rule, *(f"| {' | '.join(line)} |" for line in body)]


def compared(scores: dict[str, dict[str, Score]]) -> list[str]:
    """The last two columns: the best baseline, and the difference to it."""
    best = [best_baseline(scores, metric) for metric in METRICS]
    away = [difference(scores, metric) for metric in METRICS]
    return [
        " / ".join("–" if one is None else f"{one[1]:.1f} ({one[0]})" for one in best),
        " / ".join("–" if one is None else f"{one:+.1f}" for one in away),
    ]


def counts(lines: list[dict[str, dict[str, Score]]]) -> list[str]:
    """How often genemamba comes near the best baseline, and passes it."""
    text = []
    for metric, name in zip(METRICS, ("Accuracy", "Macro-F1"), strict=True):
        away = [one for one in (difference(scores, metric) for scores in lines) if one is not None]
        near, above = sum(one >= -MARGIN for one in away), sum(one > 0 for one in away)
        text.append(
            f"{name}: {JUDGED} within {MARGIN} points of the best baseline on {near} of {len(away)}, "
            f"above it on {above} of {len(away)}."
        )
    return text


def comparison(
    measured: Scores, before: Scores, lines: list[Line], titles: list[str], marked: bool = True
) -> list[str]:
    """A table of methods with the best baseline, and its counts; ``marked`` where fewer splits are to be named."""
    lines = [line for line in lines if line in measured]
    methods = ordered({method for line in lines for method in measured[line]})
    body, joined = [], []
    for line in lines:
        most = max(of["accuracy"].n for of in measured[line].values()) if marked else None
        cells = [cell(measured[line].get(method, {}), most) for method in methods]
        joined.append({**before.get(line, {}), **measured[line]})
        body.append([*line, *cells, *compared(joined[-1])])
    header = [*titles, *methods, "best baseline", f"{JUDGED} − best"]
    return [*markdown(header, body), "", *counts(joined)]


def embeddings(rows: list[Row]) -> list[str]:
    """kNN probes of the embeddings."""
    found = collect(rows, source="embedding")
    lines = [line for line in ROWS if line in found]
    methods = ordered({method for line in lines for method in found[line]})
    body = []
    for line in lines:
        most = max(of["knn_accuracy"].n for of in found[line].values())
        metrics = ("knn_accuracy", "knn_macro_f1")
        body.append([*line, *(cell(found[line].get(method, {}), most, metrics) for method in methods)])
    return markdown(["set", "split", *methods], body)


def ordered(methods: set[str]) -> list[str]:
    """Ours first, then the baselines by name."""
    return [name for name in OURS if name in methods] + sorted(methods - set(OURS))


def report(rows: list[Row], path_recorded: Path = RECORDED) -> str:
    """All tables of a results file."""
    title = "accuracy / macro-F1 in %, mean ± sd over seeds (stratified) or over held-out batches (means of seeds)"
    text = [f"### Annotation: {title}", "", "`*` recorded before; `[n]` fewer splits than other methods.", ""]
    text += comparison(collect(rows), recorded(path_recorded), list(ROWS), ["set", "split"])
    text += ["", f"### {ACROSS_STUDIES} by held-out study: accuracy / macro-F1 in %, mean ± sd over seeds", ""]
    studies = [(study,) for study in STUDIES]
    # Baselines need one seed there (see run.py), which is no gap.
    before = recorded(path_recorded, by_study=True)
    text += comparison(collect(rows, by_study=True), before, studies, ["held out"], marked=False)
    text += ["", "### Embeddings: kNN probe (k = 15 on the training cells), accuracy / macro-F1 in %", ""]
    return "\n".join(text + embeddings(rows)) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    given = parser.parse_args().results
    if not given.exists():
        raise SystemExit(f"A table needs results. {given} does not exist. Run benchmarks/annotation/run.py first.")
    print(report(read_rows(given)), end="")
