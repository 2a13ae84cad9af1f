"""Print the tables of what `confidence.py` measured.

python benchmarks/annotation/confidence_table.py benchmarks/annotation/results
"""

import sys
from pathlib import Path

import pandas as pd
from rows import read_rows

COVERAGES = (0.8, 0.9, 0.95)


def markdown(header: list[str], lines: list[list[str]]) -> str:
    parts = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(parts + ["| " + " | ".join(line) + " |" for line in lines])


def percent(value: float) -> str:
    return "–" if pd.isna(value) else f"{100 * value:.1f}"


def pair(row: pd.Series, name: str) -> str:
    """Coverage in % / mean size of the sets; a dash where no split had calibration cells enough."""
    if f"coverage {name}" not in row or pd.isna(row[f"coverage {name}"]):
        return "–"
    return f"{100 * row[f'coverage {name}']:.1f} / {row[f'size {name}']:.2f}"


def grouped(frame: pd.DataFrame, method: str, split: str) -> pd.DataFrame:
    """Means over seeds of random splits; every held-out batch by itself."""
    own = frame[(frame["method"] == method) & (frame["split"] == split)]
    return own.groupby(["set", "held_out"], sort=False).mean(numeric_only=True).reset_index()


def coverage_table(frame: pd.DataFrame, method: str, split: str) -> str:
    header = ["set", "held out", "calibration cells", "accuracy", *(f"{coverage:g}" for coverage in COVERAGES)]
    header += ["0.9, never empty", "empty at 0.9", "0.9 per type", "least type, 0.9 / per type"]
    lines = []
    for _, row in grouped(frame, method, split).iterrows():
        of_type = [percent(row.get(f"least {name}", float("nan"))) for name in ("0.9", "per type 0.9")]
        lines.append([
            row["set"], row["held_out"] or "random", f"{row['n_calibration']:.0f}", percent(row["accuracy"]),
            *(pair(row, f"{coverage:g}") for coverage in COVERAGES), pair(row, "full 0.9"),
            percent(row["empty 0.9"]), pair(row, "per type 0.9"), " / ".join(of_type),
        ])  # fmt: skip
    return markdown(header, lines)


def calibration_table(frame: pd.DataFrame) -> str:
    lines = []
    for split in ("stratified", "batch"):
        for _, row in grouped(frame, "sets", split).iterrows():
            told = [f"{row['temperature']:.2f}", percent(row["ece_before"]), percent(row["ece_after"])]
            seen = [percent(row["flagged"]), f"{row['shift']:.2f}", percent(row["is_told"])]
            lines.append([row["set"], row["held_out"] or "random", *told, *seen])
    header = ["set", "held out", "temperature", "ECE before", "ECE after", "look unknown", "distance", "warned"]
    return markdown(header, lines)


def unknown_table(frame: pd.DataFrame, *, by_type: bool) -> str:
    scores = pd.DataFrame(list(frame["auroc"]))
    scores.insert(0, "set", frame["set"].to_numpy())
    scores["flagged, left out"] = frame["flagged_new"].to_numpy()
    scores["flagged, others"] = frame["flagged_known"].to_numpy()
    if by_type:
        scores.insert(1, "left out", frame["held_out"].to_numpy())
        rows = [[row.iloc[0], row.iloc[1], *(f"{value:.2f}" for value in row.iloc[2:])] for _, row in scores.iterrows()]
        return markdown(list(scores.columns), rows)
    means = scores.groupby("set", sort=False).mean()
    means.loc["mean of sets"] = means.mean()
    rows = [[str(name), *(f"{value:.3f}" for value in row)] for name, row in means.iterrows()]
    return markdown(["set", *means.columns], rows)


def main(folder: Path) -> None:
    sets = pd.DataFrame(read_rows(folder / "sets.jsonl"))
    sets["is_told"] = sets["is_told"].astype(float)
    unknown = pd.DataFrame(read_rows(folder / "unknown.jsonl"))
    off = [row["coverage 0.9"] - 0.9 for _, row in grouped(sets, "sets", "stratified").iterrows()]
    print("### Sets without shift: coverage in % / mean size, by stated coverage; means of random splits\n")
    print(coverage_table(sets, "sets", "stratified"))
    print(f"\nWithin 2 points of 0.9: {sum(abs(value) <= 0.02 for value in off)} of {len(off)}.\n")
    if refitted := read_rows(folder / "sets_refit.jsonl"):
        print("### The same of models whose validation cells were fitted in the end, as `train()` does\n")
        print(coverage_table(pd.DataFrame(refitted), "sets", "stratified") + "\n")
    print("### Sets for a batch that the model has not seen\n")
    print(coverage_table(sets, "sets", "batch"))
    print("\n### The same, calibrated on 200 labelled cells of that batch\n")
    print(coverage_table(sets, "local", "batch"))
    print("\n### Calibration error of confidence (15 bins, %), and what is told of test cells without their labels\n")
    print(
        "`look unknown`: share of cells from 0.95 on, 5 % stated. `warned`: in how many splits `annotate` warned, %.\n"
    )
    print(calibration_table(sets))
    print("\n### Unknown cells: AUROC with each type left out in turn, mean over types\n")
    print(unknown_table(unknown, by_type=False))
    print("\n### Unknown cells by type\n")
    print(unknown_table(unknown, by_type=True))
    if not any("CellTypist" in found for found in unknown["auroc"]):
        print(
            "\nCellTypist itself was not run: it is not installed here. The one-vs-rest cut is its rule on our own fit."
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
