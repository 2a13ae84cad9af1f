"""Say in plain sentences who won and who did not."""

from collections.abc import Sequence

from genemamba_sc.benchmark.methods._methods import JUDGED, method_of
from genemamba_sc.benchmark.results._statistics import Mean
from genemamba_sc.benchmark.results._summary import Difference, _Table, groups, metrics_of
from genemamba_sc.benchmark.runs._rows import BenchmarkRow, NotRun

NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "avg_bio": "bio",
    "avg_batch": "batch",
    "knn_accuracy": "kNN accuracy",
    "knn_macro_f1": "kNN macro-F1",
    "ilisi": "iLISI",
    "clisi": "cLISI",
    "nmi": "NMI",
    "ari": "ARI",
    "asw_label": "ASW label",
    "asw_batch": "ASW batch",
    "graph_connectivity": "connectivity",
    "graph_connectivity_directed": "directed connectivity",
    "knn_worst_all": "worst type",
    "knn_worst_some": "worst type, in some batches",
}


def number(value: float, sign: bool = False) -> str:
    """Write a score with three digits and no leading zero, such as .912 or −.004."""
    text = f"{abs(value):.3f}"
    text = text[1:] if text.startswith("0") else text
    minus = "−" if value < 0 and float(text) else "+" if sign and float(text) else ""
    return minus + text


def interval(mean: Mean, sign: bool = False) -> str:
    """Write an interval, such as [.004, .020]; nothing where there is none."""
    if mean.low is None or mean.high is None:
        return ""
    return f" [{number(mean.low, sign)}, {number(mean.high, sign)}]"


def sentence(found: Difference) -> str:
    """Say how GeneMamba did beside another method, by one score.

    Parameters
    ----------
    found
        The difference.
    """
    of, other = found.difference, method_of(found.task, found.other).title
    best = f"{other}, the best of {found.n_baselines} baselines," if found.n_baselines > 1 else other
    return f"{found.split}, {NAMES[found.metric]}: {_verdict(found, of, other, best)}{_by_batch(found)}"


def _verdict(found: Difference, of: Mean, other: str, best: str) -> str:
    """Say who is ahead, by how much, and how sure that is."""
    scores = f"GeneMamba {number(found.ours)}, {best.removesuffix(',')} {number(found.theirs)}"
    seeds = f"95 % interval of {of.n_seeds} paired seeds"
    if of.n_seeds == 1:
        return f"{scores}. This is one seed: there is no interval, and neither is called better."
    if of.low is None or of.high is None:
        if abs(of.mean) < 1e-9:
            return f"a tie: GeneMamba and {best} scored the same, {number(found.ours)}, with all {of.n_seeds} seeds."
        return (
            f"{scores}, the same difference of {number(of.mean, True)} with all {of.n_seeds} seeds. Seeds that do not "
            "vary give no interval, so neither is called better."
        )
    if found.winner == JUDGED:
        return f"GeneMamba is ahead of {best} by {number(of.mean)}{interval(of)} ({seeds})."
    if found.winner:
        flipped = Mean(-of.mean, -of.high, -of.low, of.n_seeds)
        return f"{best} is ahead of GeneMamba by {number(flipped.mean)}{interval(flipped)} ({seeds})."
    difference = f"{number(of.mean, True)}{interval(of, True)}"
    return f"a tie: GeneMamba minus {best} is {difference} ({seeds}), and the interval holds 0."


def _by_batch(found: Difference) -> str:
    if found.n_parts == 1:
        return ""
    return f" GeneMamba is ahead on {found.n_ahead} and behind on {found.n_behind} of {found.n_parts} held-out batches."


def unjudged(rows: Sequence[BenchmarkRow], differences: Sequence[Difference], not_run: Sequence[NotRun]) -> list[str]:
    """Say what could not be compared: GeneMamba or every baseline is missing, or a baseline lacks seeds.

    Parameters
    ----------
    rows, differences, not_run
        What was measured, what was compared, and what was not measured.
    """
    told = []
    missing = {(one.task, one.split) for one in not_run if one.method == JUDGED and one.split}
    told += [f"{split}: GeneMamba failed on a part of {task}, see below." for task, split in sorted(missing)]
    judged = {(one.task, one.split) for one in differences if one.role == "best baseline"}
    for (task, split), group in groups(rows).items():
        if (task, split) not in judged:
            told.append(f"{split} ({task}): nothing is compared, for GeneMamba or every baseline is missing.")
            continue
        table = _Table(group, metrics_of(task, group)[0])
        seeds = table.whole(JUDGED)
        for name in table.values:
            if (seeds & ~table.whole(name)).any() and not method_of(task, name).is_ours:
                title = method_of(task, name).title
                told.append(
                    f"{split}: {title} lacks rows that GeneMamba has, so it is not among the baselines compared."
                )
    return told
