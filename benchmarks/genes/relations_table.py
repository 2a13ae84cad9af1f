"""The tables of a results file as markdown."""

from rows import Row

MATCHED = ("reactome", "collectri", "trrust", "collectri_300")


def report(rows: list[Row]) -> str:
    """Matched pairs, then the published evaluation."""
    if not rows:
        raise SystemExit("A table needs results. The file has none: run benchmarks/genes/run.py --out first.")
    text = "Matched pairs: AUROC / AUPRC over the share of positives / early precision (highest 5 %) over it.\n\n"
    text += _table(
        rows, MATCHED, lambda part: f"{part['auroc']:.3f} / {part['auprc_ratio']:.2f} / {part['early_ratio']:.2f}"
    )
    text += "\nPairs and standard error of an AUROC without signal:\n\n" + _sizes(rows)
    text += "\nGene2vec's pairs (negatives not matched): AUROC / difference ratio / KL / JS.\n\n"
    text += _table(
        rows, ("gene2vec",), lambda p: f"{p['auroc']:.3f} / {p['diff_ratio']:.3f} / {p['kl']:.4f} / {p['js']:.4f}"
    )
    return text


def _table(rows: list[Row], tasks: tuple[str, ...], cell: object) -> str:
    lines = ["| set | score | " + " | ".join(tasks) + " |", "|---|---|" + "---|" * len(tasks)]
    for row in (row for row in rows if any(task in row for task in tasks)):
        cells = [cell(row[task]) if task in row else "" for task in tasks]
        lines.append(f"| {row['set']} | {row['method']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _sizes(rows: list[Row]) -> str:
    lines = ["| set | genes | " + " | ".join(MATCHED) + " |", "|---|---|" + "---|" * len(MATCHED)]
    for name in dict.fromkeys(row["set"] for row in rows):
        row = next(row for row in rows if row["set"] == name and "reactome" in row)
        parts = [f"{row[task]['n_pairs']:,} (±{row[task]['auroc_se']:.3f})" for task in MATCHED]
        lines.append(f"| {name} | {row['n_genes']:,} | " + " | ".join(parts) + " |")
    return "\n".join(lines) + "\n"
