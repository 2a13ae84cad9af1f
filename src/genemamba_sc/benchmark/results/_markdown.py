"""Write a report as a page of tables and sentences."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from genemamba_sc.benchmark.methods._methods import method_of
from genemamba_sc.benchmark.results._sentences import NAMES, interval, number, sentence, unjudged
from genemamba_sc.benchmark.results._summary import Summary

if TYPE_CHECKING:
    from genemamba_sc.benchmark.results._result import BenchmarkReport

# Columns of the tables, as far as they were measured.
_SHOWN = {
    "annotation": ("accuracy", "macro_f1", "knn_accuracy"),
    "integration": ("avg_bio", "avg_batch", "ilisi", "nmi", "ari", "asw_label", "asw_batch", "graph_connectivity",
                    "knn_accuracy"),
}  # fmt: skip
_HOW = (
    "Means over seeds; brackets are 95 % intervals by Student's t over the seeds, corrected for overlapping test parts "
    "where these are drawn (Nadeau and Bengio 2003). Where the parts are fixed (batch, query, all cells), the interval "
    "is that of the methods' own randomness on these cells. Nothing was chosen on test cells. The best baseline is the "
    "one with the best mean on these test cells, which favours the baselines."
)
_NOTES = {
    "annotation": "kNN accuracy: the nearest training cells in the embedding of a method tell the type.",
    "integration": "bio = mean(NMI, ARI at the best-NMI Leiden resolution, ASW of labels), NMI and ARI as means of "
    "five clusterings that differ in Leiden's seed; batch = mean(ASW of batches, graph connectivity); kNN accuracy: "
    "15 nearest cells of all other batches tell the type.",
}


def to_markdown(report: "BenchmarkReport") -> str:
    """Write tables, who won, what was not run, and versions.

    Parameters
    ----------
    report
        The report.
    """
    text = ["# Benchmark", "", _facts(report), "", _HOW]
    summaries = report.means
    for task, split in dict.fromkeys((one.task, one.split) for one in summaries):
        group = [one for one in summaries if (one.task, one.split) == (task, split)]
        text += ["", f"## {task.capitalize()}: {split}", "", _NOTES[task], ""]
        text += _table(group, task)
        unknown = {row.held_out: row.n_unknown for row in report.rows if row.split == split and row.n_unknown}
        for held_out, n in unknown.items():
            of = f" of {held_out}" if held_out else ""
            text += [
                "",
                f"{n} test cells{of} are of types that the training cells lack; no method can be right about them.",
            ]
    text += ["", "## Who won", "", *(f"- {line}" for line in verdicts(report))]
    if report.not_run:
        text += ["", "## Not run", "", *(f"- {line}" for line in _absent(report))]
    text += ["", "## Versions", "", ", ".join(f"{name} {version}" for name, version in report.versions.items())]
    return "\n".join(text) + "\n"


def verdicts(report: "BenchmarkReport") -> list[str]:
    """Say who won: GeneMamba beside the best baselines first, then beside its own parts.

    Parameters
    ----------
    report
        The report.
    """
    differences = report.differences
    best = [sentence(one) for one in differences if one.role == "best baseline"]
    own = [sentence(one) for one in differences if one.role == "part"]
    return [*best, *own, *unjudged(report.rows, differences, report.not_run)]


def _facts(report: "BenchmarkReport") -> str:
    batches = "" if report.batch_key is None else f", {report.n_batches} batches of {report.batch_key!r}"
    left_out = f" {report.n_unlabelled} cells without a label were left out." if report.n_unlabelled else ""
    return (
        f"{report.n_cells:,} cells, {report.n_genes:,} genes ({report.values}), {report.n_types} types of "
        f"{report.labels_key!r}{batches}.{left_out} Seeds: {', '.join(map(str, report.seeds))}. "
        f"Data {report.digest[:12]}."
    )


def _table(group: Sequence[Summary], task: str) -> list[str]:
    metrics = [name for name in _SHOWN[task] if any(one.metric == name for one in group)]
    lines = [["method", "seeds", *(NAMES[name] for name in metrics), "seconds"]]
    lines.append(["---"] * len(lines[0]))
    for method in dict.fromkeys(one.method for one in group):
        of = {one.metric: one for one in group if one.method == method}
        first = next(iter(of.values()))
        scores = [number(of[name].score.mean) + interval(of[name].score) if name in of else "–" for name in metrics]
        lines.append([method_of(task, method).title, str(first.score.n_seeds), *scores, f"{first.seconds:.1f}"])
    return ["| " + " | ".join(line) + " |" for line in lines]


def _absent(report: "BenchmarkReport") -> list[str]:
    lines = []
    for one in report.not_run:
        where = ", ".join(part for part in (one.split, one.held_out, f"seed {one.seed}" if one.split else "") if part)
        lines.append(f"{one.method} ({one.task}{', ' + where if where else ''}): {one.reason}")
    return lines
