"""Predicted ranks of other genes when a gene is deleted, beside what is seen in cells that the model has not seen.

OMP_NUM_THREADS=1 python benchmarks/genes/rank_effects.py --out benchmarks/genes/results/rank_effects.md

Nothing was deleted in any cell, so the question is a weaker one: does a target stand higher in the cells that have a
gene than in those that lack it, by as much as the model says when the gene is deleted? Genes and targets are drawn from
those that a tenth of the training cells have. The model's changes are those in 400 training cells; what is seen is the
difference of the mean relative rank of the target between test cells with and without the gene (at least ten each),
once as it is and once less the mean rank in the type of each cell. Scores are Spearman's correlations over pairs.
Beside the model stand the mean of its matched genes (the mean baseline), Pearson's correlation of log-normalised
expression in the training cells, and the same difference seen in the training cells. No change is the same for all
pairs, and has no correlation. Models are those of trained.py.
"""

import warnings
from pathlib import Path

import numpy as np
from anndata import AnnData
from scipy.stats import spearmanr
from trained import LABEL, asked_for, split_set, trained_model

import genemamba_sc as gm
from genemamba_sc.tl.parts import FIRST_GENE_ID, real_positions, relative_ranks

SETS = ("pbmc3k", "zheng_sorted", "kang_ctrl")
N_GENES, N_TARGETS, N_CELLS, N_CONTROLS, LEAST_SHARE, LEAST_CELLS = 60, 200, 400, 5, 0.1, 10
INTERFERON = ("ISG15", "IFI6", "IFIT1", "IFIT3", "MX1", "OAS1", "ISG20", "LY6E")


def ranks_of(model: gm.GeneMambaModel, cells: AnnData) -> np.ndarray:
    """Relative rank of every gene in every cell, NaN where the cell lacks it."""
    tokens = model._source(cells).tokens(np.arange(cells.n_obs))
    ranks = np.full((cells.n_obs, model.vocabulary.size), np.nan)
    real = real_positions(tokens)
    ranks[np.nonzero(real)[0], tokens.ids[real]] = np.concatenate([relative_ranks(n) for n in tokens.lengths.tolist()])
    return ranks[:, FIRST_GENE_ID : model.vocabulary.cls_id]


def without_types(ranks: np.ndarray, types: np.ndarray) -> np.ndarray:
    """Ranks less the mean rank of the gene in the type of the cell."""
    left = ranks.copy()
    for name in np.unique(types):
        left[types == name] -= np.nanmean(ranks[types == name], axis=0)
    return left


def seen(ranks: np.ndarray, has: np.ndarray, genes: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Mean rank of each target in the cells with a gene, less that in the cells without."""
    found = np.full((len(genes), len(targets)), np.nan)
    for row, gene in enumerate(genes):
        parts = [ranks[np.ix_(which, targets)] for which in (has[:, gene], ~has[:, gene])]
        enough = np.all([(~np.isnan(part)).sum(axis=0) >= LEAST_CELLS for part in parts], axis=0)
        found[row, enough] = np.nanmean(parts[0][:, enough], axis=0) - np.nanmean(parts[1][:, enough], axis=0)
    found[genes[:, None] == targets] = np.nan
    return found


def pearson(cells: AnnData, model: gm.GeneMambaModel, genes: list[str], targets: list[str]) -> np.ndarray:
    names = list(dict.fromkeys([*genes, *targets]))
    table = gm.tl.gene_correlation(model, names, cells, method="pearson", min_cells=1).to_numpy()
    return table[np.ix_([names.index(name) for name in genes], [names.index(name) for name in targets])]


def agree(said: np.ndarray, known: np.ndarray) -> str:
    both = ~(np.isnan(said) | np.isnan(known))
    return f"{spearmanr(said[both], known[both]).statistic:.3f}"


def rows_of(name: str, most: int, seed: int, work: Path) -> tuple[list[str], list[str]]:
    train, test = split_set(name, most, seed)
    model = trained_model(name, train, seed, work, most)
    ranks, new = ranks_of(model, train), ranks_of(model, test)
    often = np.flatnonzero((~np.isnan(ranks)).mean(axis=0) >= LEAST_SHARE)
    rng = np.random.default_rng(seed)
    genes, targets = (np.sort(rng.permutation(often)[:n]) for n in (N_GENES, N_TARGETS))
    ids = [[model.vocabulary.gene_ids[gene] for gene in part] for part in (genes, targets)]
    some = rng.permutation(train.n_obs)[:N_CELLS]
    asked = {"targets": ids[1], "indices": some, "n_controls": N_CONTROLS, "seed": seed}
    found = gm.tl.rank_effects(model, train, ids[0], **asked)
    types = [cells.obs[LABEL].astype(str).to_numpy() for cells in (train, test)]
    rows = []
    for label, before, after in (
        ("as they are", ranks, new),
        ("within types", without_types(ranks, types[0]), without_types(new, types[1])),
    ):
        known = seen(after, ~np.isnan(new), genes, targets)
        said = {
            "model": -found.change, "matched genes": -found.control_change,
            "pearson": pearson(train, model, *ids),
            "training cells": seen(before, ~np.isnan(ranks), genes, targets),
        }  # fmt: skip
        n = int((~np.isnan(known)).sum())
        rows.append(f"| {name} | {label} | {n:,} | " + " | ".join(agree(one, known) for one in said.values()) + " |")
    return rows, interferon(name, model, train, seed)


def interferon(name: str, model: gm.GeneMambaModel, cells: AnnData, seed: int) -> list[str]:
    """What deleting an interferon gene does to the ranks of the others."""
    symbols = dict(zip(model.vocabulary.symbols, model.vocabulary.gene_ids))
    column = dict(zip(cells.var_names, cells.var["ensembl"])) if "ensembl" in cells.var else symbols
    names = [gene for gene in INTERFERON if column.get(gene, gene) in model.vocabulary.gene_ids]
    ids = [column.get(gene, gene) for gene in names]
    rows = []
    for kind in ("delete", "top"):
        found = gm.tl.rank_effects(model, cells, ids, targets=ids, kind=kind, seed=seed, indices=np.arange(300))
        sign = -1 if kind == "delete" else 1
        known = ~np.isnan(found.p)
        right = known & (np.sign(found.change) == sign)
        unusual = right & (found.p < 0.05)
        change, control = (f"{np.nanmean(x):+.4f}" for x in (found.change, found.control_change))
        rows.append(
            f"| {name} | {kind} | {', '.join(names)} | {known.sum()} | {change} | {control} | {right.sum()} | "
            f"{unusual.sum()} | {np.nanmedian(found.foretold):.2f} |"
        )
    return rows


def main() -> None:
    arguments = asked_for(__doc__, SETS)
    warnings.simplefilter("ignore")
    first = [
        "| set | differences | pairs | model | matched genes | Pearson | training cells |",
        "|---|---|---|---|---|---|---|",
    ]
    second = [
        "| set | kind | genes | pairs | mean change | of matched genes | pairs in the expected direction "
        "| of these beyond all matched genes | foretold, median |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in arguments.sets.split(","):
        for table, rows in zip((first, second), rows_of(name, arguments.cells, arguments.seed, arguments.work)):
            table += rows
            print("\n".join(rows), flush=True)
    text = [
        "# Ranks of other genes when a gene is deleted", "", f"One seed ({arguments.seed}).", "",
        "## Beside differences that are seen in new cells", "", *first, "",
        "## Among interferon-stimulated genes, in 300 resting cells", "", *second, "",
    ]  # fmt: skip
    arguments.out.write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
