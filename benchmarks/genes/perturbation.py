"""Genes deleted in many cells: how fast, and whether the markers of a type carry its probability.

OMP_NUM_THREADS=1 python benchmarks/genes/perturbation.py --out benchmarks/genes/results/perturbation.md

The models are those of reconstruction.py, the cells those that they have not seen. Speed: the mean embedding shift and
type change of each gene, by ``gm.tl.perturb`` and by two plain loops over the genes, which delete the gene from the
tokens of the cells that have it and embed these cells as ``get_latent_representation`` does; one tokenises the cells
for each gene, the other once. The ways alternate; the seconds are medians of five rounds. Markers:
the ten genes with the largest Wilcoxon score of each type in the training cells, among those that a fifth of the type
expresses, against genes expressed in as many cells of the type and as strongly.
"""

import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scanpy as sc
import torch
from anndata import AnnData
from trained import LABEL, asked_for, split_set, trained_model

import genemamba_sc as gm
from genemamba_sc.data import CellSource, Tokens, length_batches, query_source, take_tokens, to_batch
from genemamba_sc.model import GeneMambaModule
from genemamba_sc.nn import Embedder

SETS = ("pbmc3k", "zheng_sorted", "kang_ctrl")
N_MARKERS, LEAST_SHARE = 10, 0.2
SPEED_GENES, SPEED_CELLS, ROUNDS = 300, 400, 5


def marker_genes(train: AnnData, types: list[str]) -> dict[str, list[str]]:
    """Markers of each type by scanpy, from the training cells alone."""
    cells = train.copy()
    sc.pp.normalize_total(cells, target_sum=1e4)
    sc.pp.log1p(cells)
    sc.tl.rank_genes_groups(cells, LABEL, method="wilcoxon")
    found = {}
    for name in types:
        share = np.asarray((cells[cells.obs[LABEL] == name].X > 0).mean(axis=0)).ravel()
        known = dict(zip(cells.var_names, share))
        ranked = cells.uns["rank_genes_groups"]["names"][name]
        found[name] = [gene for gene in ranked if known[gene] >= LEAST_SHARE][:N_MARKERS]
    return found


def gene_ids(model: gm.GeneMambaModel, cells: AnnData, names: list[str]) -> list[str]:
    """The names under which the model knows columns of the cells."""
    column = cells.var["ensembl"] if "ensembl" in cells.var else cells.var_names.to_series()
    wanted = [str(column[name]) for name in names]
    known = set(model.vocabulary.gene_ids)
    return [name for name in wanted if name in known]


def marker_rows(name: str, most: int, seed: int, work: Path) -> list[str]:
    train, test = split_set(name, most, seed)
    model = trained_model(name, train, seed, work, most)
    rows = []
    for kind, markers in marker_genes(train, [str(t) for t in model.cell_types]).items():
        ids = gene_ids(model, train, markers)
        rows_of_type = np.flatnonzero((test.obs[LABEL].astype(str) == kind).to_numpy())
        if not len(rows_of_type):
            continue
        found = gm.tl.perturb(model, test, ids, indices=rows_of_type, n_controls=20)
        column = found.cell_types.index(kind)
        auroc = np.nanmean(found.lowers_more[:, 0, column])
        effects = found.type_change, found.control_type_change, found.control_type_size
        change, control, size = (np.nanmean(x[:, 0, column]) for x in effects)
        rows.append(
            f"| {name} | {kind} | {len(rows_of_type)} | {len(ids)} | {change:+.5f} | {control:+.5f} | {size:.5f} | "
            f"{auroc:.3f} |"
        )
    return rows


class Trained(NamedTuple):
    """What embeds cells and names their types."""

    module: GeneMambaModule
    embedder: Embedder
    temperature: float


def encode(model: Trained, tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings and probabilities, in batches of cells of similar length."""
    cells, types = [None] * len(tokens.lengths), [None] * len(tokens.lengths)
    with torch.inference_mode():
        for rows in length_batches(tokens.lengths, 16_384, None, 0.03):
            batch = to_batch(take_tokens(tokens, rows))
            pools = model.embedder(batch["token_ids"], batch["token_values"], batch["lengths"])
            logits = model.module.generative(pools.context, batch["token_ids"], batch["token_values"])
            probabilities = (logits["cell_type_logits"] / model.temperature).softmax(dim=1)
            for row, cell, p in zip(rows, pools.cell.numpy(), probabilities.numpy()):
                cells[row], types[row] = cell, p
    return np.stack(cells), np.stack(types)


def without(tokens: Tokens, gene: int) -> Tokens:
    """The tokens without a gene that every one of the cells has."""
    keep = tokens.ids != gene
    shape = (len(tokens.ids), tokens.ids.shape[1] - 1)
    return Tokens(tokens.ids[keep].reshape(shape), tokens.values[keep].reshape(shape), tokens.lengths - 1)


def plain_loop(model: gm.GeneMambaModel, source: CellSource, genes: np.ndarray, *, tokenise: bool) -> np.ndarray:
    """Mean distance and change of the types, (genes, 1 + types), one gene after another."""
    everything = np.arange(source.n_obs)
    temperature = 1.0 if model.calibration_ is None else model.calibration_.temperature
    trained = Trained(model.module.eval(), Embedder(model.module.encoder), temperature)
    tokens = source.tokens(everything)
    cells, types = encode(trained, tokens)
    rows = []
    for gene in genes:
        tokens = source.tokens(everything) if tokenise else tokens
        having = np.flatnonzero((tokens.ids == gene).any(axis=1))
        after, types_after = encode(trained, without(take_tokens(tokens, having), gene))
        distance = np.linalg.norm(after - cells[having], axis=1).mean()
        rows.append([distance, *(types_after - types[having]).mean(axis=0)])
    return np.array(rows)


def speed_rows(name: str, most: int, seed: int, work: Path) -> list[str]:
    train, test = split_set(name, most, seed)
    model = trained_model(name, train, seed, work, most)
    test = test[:SPEED_CELLS].copy()
    setup = {"gene_id_key": "ensembl"} if "ensembl" in test.var else {}
    source = query_source(test, model.vocabulary, model.max_len_, setup)
    tokens = source.tokens(np.arange(test.n_obs))
    present = np.unique(tokens.ids[tokens.values > 0])
    genes = np.sort(np.random.default_rng(seed).choice(present, min(SPEED_GENES, len(present)), replace=False))
    names = [model.vocabulary.gene_ids[gene - 2] for gene in genes]

    def ours() -> np.ndarray:
        found = gm.tl.perturb(model, test, names, n_controls=0)
        return np.concatenate([found.l2_shift, found.type_change[:, 0]], axis=1)

    ways = {
        "gm.tl.perturb": ours,
        "loop, tokens kept": lambda: plain_loop(model, source, genes, tokenise=False),
        "loop, tokens made for each gene": lambda: plain_loop(model, source, genes, tokenise=True),
    }
    rounds, results = defaultdict(list), {}
    for _ in range(ROUNDS):
        for way, function in ways.items():
            start = time.process_time()
            results[way] = function()
            rounds[way].append(time.process_time() - start)
    seconds = {way: statistics.median(taken) for way, taken in rounds.items()}
    apart = max(float(np.abs(result - results["gm.tl.perturb"]).max()) for result in results.values())
    first = seconds["gm.tl.perturb"]
    return [
        f"| {name} | {len(genes)} × {test.n_obs} | {way} | {taken:.2f} | {taken / first:.1f} | {apart:.1e} |"
        for way, taken in seconds.items()
    ]


def main() -> None:
    arguments = asked_for(__doc__, SETS)
    asked = (arguments.cells, arguments.seed, arguments.work)
    speed = [
        "| set | genes × cells | way | processor seconds | times gm.tl.perturb | largest difference of a result |",
        "|---|---|---|---|---|---|",
    ]
    markers = [
        "| set | type | cells | markers | change of its probability | matched genes, mean | their mean size | AUROC |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in arguments.sets.split(","):
        for table, rows in ((speed, speed_rows(name, *asked)), (markers, marker_rows(name, *asked))):
            table += rows
            print("\n".join(rows), flush=True)
    text = [
        "# Genes deleted in cells", "", "## Speed, one thread", "", *speed, "",
        "## Markers of a type, deleted one at a time in its own cells", "", *markers, "",
        "AUROC: share of the matched genes that lower the probability less than the marker, mean over the markers.", "",
    ]  # fmt: skip
    arguments.out.write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
