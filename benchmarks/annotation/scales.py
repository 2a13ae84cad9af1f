"""Is the scale of a matrix told from its values: of many cells, of three, and of one alone?

Real counts are put on scales that users hand in, and the package is asked what they are. Then all cells of each set are
read on each scale, in whole and with one cell of another scale among them: the first must pass, the second be refused.

    python benchmarks/annotation/scales.py --data ../shared/data --out benchmarks/annotation/results/scales.md
"""

import argparse
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
from scipy import sparse

from genemamba_sc.data import CellReader, Expression, detect_expression, to_linear

SETS = ("pbmc3k", "zheng_sorted", "kang_ctrl", "cell_lines", "onek1k", "pbmc_chemistries")
N_CELLS = 400
LOGS: dict[str, tuple[float, Callable[[np.ndarray], np.ndarray]]] = {
    "log1p": (float(np.e), np.log1p),
    "log2": (2.0, lambda x: np.log2(1 + x)),
    "log10": (10.0, lambda x: np.log10(1 + x)),
}
Scaled = tuple[np.ndarray, str, float | None]


def scaled(counts: np.ndarray, rng: np.random.Generator) -> dict[str, Scaled]:
    """Give the cells on each scale, with its kind and base."""
    lengths = rng.lognormal(0, 1, counts.shape[1])
    tpm = counts / lengths
    linear = {"CP10k": _to_sum(counts, 1e4), "TPM": _to_sum(tpm, 1e6)}
    corrected = np.where(rng.random(counts.shape) < 0.3, counts, np.maximum(counts - 0.9 * rng.random(counts.shape), 0))
    panel = np.argsort(-counts.sum(axis=0))[200:260]
    found: dict[str, Scaled] = {"counts": (counts, "counts", None)}
    found |= {name: (x, "normalised", None) for name, x in linear.items()}
    found |= {"corrected": (corrected, "normalised", None)}
    found |= {"corrected, 60 genes": (corrected[:, panel], "normalised", None)}
    for log, (base, function) in LOGS.items():
        found |= {f"{log} {name}": (function(x), "log1p", base) for name, x in linear.items()}
        found |= {f"{log} counts": (function(counts), "log1p", base)}
        found |= {f"{log} TPM, half of the genes": (function(linear["TPM"])[:, ::2], "log1p", base)}
    return found


def _to_sum(x: np.ndarray, target: float) -> np.ndarray:
    return x / np.maximum(x.sum(axis=1, keepdims=True), 1e-12) * target


def verdict(x: np.ndarray, kind: str, base: float | None) -> str:
    """Say whether the scale is right, assumed with a warning, refused, or wrong without a word."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = detect_expression(CellReader(sparse.csr_matrix(x.astype(np.float32))))
    except ValueError:
        return "refused"
    if found.assumed:
        return "assumed"
    return "right" if (found.kind, found.log_base) == (kind, base) else "wrong"


def passes(x: np.ndarray, kind: str, base: float | None) -> bool:
    """Say whether all cells can be read on their scale."""
    try:
        to_linear(sparse.csr_matrix(x.astype(np.float32)), Expression(kind, base, ""))
    except ValueError:
        return False
    return True


def reading(data: Path, most: int = 3000) -> list[str]:
    """Rows of a table: files that pass as they are, and files with one strange cell that are refused."""
    rows: dict[str, Counter[str]] = {}
    for name in SETS:
        rng = np.random.default_rng(1)
        adata = anndata.read_h5ad(data / "cells" / f"{name}.h5ad")
        chosen = np.sort(rng.choice(adata.n_obs, min(most, adata.n_obs), replace=False))
        files = scaled(adata.X[chosen].toarray().astype(np.float64), rng)
        for scale, (x, kind, base) in files.items():
            tally = rows.setdefault(scale, Counter())
            tally.update(files=1, cells=len(x), passed=passes(x, kind, base))
            # The last cell, on another scale, where both are of all genes.
            for other, (y, _, other_base) in files.items():
                if other_base != base and y.shape == x.shape and "TPM" not in other and other != "corrected":
                    tally.update(mixed=1, caught=not passes(np.vstack([x[:-1], y[-1:]]), kind, base))
    head = [
        "| scale | files | cells | pass as they are | with one strange cell | refused |",
        "|---|---|---|---|---|---|",
    ]
    columns = ("files", "cells", "passed", "mixed", "caught")
    return head + [f"| {scale} | " + " | ".join(str(tally[c]) for c in columns) + " |" for scale, tally in rows.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    tallies: dict[tuple[str, str], Counter[str]] = {}
    for name in SETS:
        rng = np.random.default_rng(0)
        adata = anndata.read_h5ad(arguments.data / "cells" / f"{name}.h5ad")
        counts = adata.X[np.sort(rng.choice(adata.n_obs, N_CELLS, replace=False))].toarray().astype(np.float64)
        for scale, (x, kind, base) in scaled(counts, rng).items():
            groups = {"400 cells": [x], "3 cells": [x[3 * i : 3 * i + 3] for i in range(40)]}
            groups["1 cell"] = [x[i : i + 1] for i in range(60) if x[i].any()]
            for size, parts in groups.items():
                tallies.setdefault((scale, size), Counter()).update(verdict(part, kind, base) for part in parts)
    columns = ("right", "assumed", "refused", "wrong")
    lines = ["| scale | cells | " + " | ".join((*columns, "of")) + " |", "|---|---|" + "---|" * 5]
    for (scale, size), tally in tallies.items():
        lines.append(f"| {scale} | {size} | " + " | ".join(str(tally[c]) for c in columns) + f" | {tally.total()} |")
    total = sum(tallies.values(), Counter())
    lines.append("| all | | " + " | ".join(str(total[c]) for c in columns) + f" | {total.total()} |")
    text = (
        f"Six sets ({', '.join(SETS)}), {N_CELLS} cells of each; `assumed` comes with a warning, `wrong` without one. "
        "Printed by `python benchmarks/annotation/scales.py`.\n\n"
        + "\n".join(lines)
        + "\n\nUp to 3,000 cells of each set, read whole:\n\n"
        + "\n".join(reading(arguments.data))
        + "\n"
    )
    arguments.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
