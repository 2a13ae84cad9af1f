"""Map a batch that a model was not trained on: are its types told, is a new type kept apart, does the reference stay?

python benchmarks/integration/mapping.py --out benchmarks/integration/results/mapping.jsonl
python benchmarks/integration/mapping.py --table benchmarks/integration/results/mapping.jsonl

Each batch named below is left out once. Embeddings of it: ``mapped`` (its cells with the name of their batch), ``axes``
(the same model, no batch known), ``raw`` (the same model, not integrated), ``off`` (a model trained with
integrate=False) and ``pca`` (genes, scaling and 50 components of the reference). A second call goes on where the first
stopped.
"""

import argparse
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
from sklearn.neighbors import NearestNeighbors

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "annotation"))
from methods import on_axes
from rows import Row, append_row, read_rows
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from splits import BATCH, LABEL, column, load_set
from versions import versions

import genemamba_sc as gm
from genemamba_sc.benchmark import (
    COMPONENTS,
    NEIGHBOURS,
    accuracy_of,
    integrated_model,
    nearest_types,
    scaled_variable_genes,
)

# (set, batch left out, types that are also taken out of the reference, one at a time)
STUDIES = (
    ("immune_3studies", "pbmc3k", ("B", "NK", "FCGR3A Mono")),
    ("immune_3studies", "kang_ctrl", ()),
    ("immune_3studies", "zheng_sorted", ()),
    ("cell_lines", "sc_celseq2_5cl_p1", ("H838",)),
)
INTRODUCTION = """\
Accuracy of 15 nearest reference cells; `near` is the share of query cells as close to the reference as 95 % of its own
cells are to its other batches (mean distance of 15 nearest); `farther` is the chance that a cell of the new type lies
farther from the reference than one of a known type (0.5: no telling)."""
NEAR = 0.95  # quantile of the distances between batches of the reference within which a cell counts as near


@dataclass(frozen=True, eq=False)
class Case:
    """Cells of one question; ``removed`` is a type that the reference lacks, or ``""``."""

    reference: ad.AnnData
    query: ad.AnnData
    removed: str


Pair = tuple[np.ndarray, np.ndarray]  # embeddings of the reference and of the query


def case(name: str, left_out: str, removed: str) -> Case:
    """The reference with labels only to score by, and the query; no method reads a label."""
    adata = load_set(name)
    labels, is_query = column(adata, LABEL), column(adata, BATCH) == left_out
    adata.obs[BATCH] = column(adata, BATCH)
    return Case(adata[~is_query & (labels != removed)].copy(), adata[is_query].copy(), removed)


def ours(case: Case, seed: int) -> tuple[dict[str, Pair], float]:
    """Embeddings by one model, and how far mapping moved the reference."""
    model = integrated_model(case.reference, seed, None)
    before = model.get_latent_representation(key_added=None)
    mapped = model.get_latent_representation(case.query, batch_key=BATCH, key_added=None)
    raw = model.get_latent_representation(integrated=False, key_added=None)
    raw_query = model.get_latent_representation(case.query, integrated=False, key_added=None)
    found = {"mapped": (before, mapped), "axes": (before, on_axes(model, case.query)), "raw": (raw, raw_query)}
    return found, shift_of_reference(model, case, before)


def shift_of_reference(model: gm.GeneMambaModel, case: Case, before: np.ndarray) -> float:
    """Largest change of the reference's embedding after a query was mapped, alone and together with the query."""
    alone = model.get_latent_representation(case.reference, batch_key=BATCH, key_added=None)
    both = ad.concat([case.reference, case.query], index_unique="-")
    together = model.get_latent_representation(both, batch_key=BATCH, key_added=None)[: len(before)]
    return float(max(np.abs(alone - before).max(), np.abs(together - before).max()))


def off(case: Case, seed: int) -> Pair:
    """Embeddings by a model that was trained not to integrate."""
    model = integrated_model(case.reference, seed, False)
    found = model.get_latent_representation(key_added=None), model.get_latent_representation(case.query, key_added=None)
    return found


def pca(case: Case, seed: int) -> Pair:
    """Components of the reference."""
    x, x_query = scaled_variable_genes(case.reference, case.query)
    model = PCA(COMPONENTS, random_state=seed).fit(x)
    return model.transform(x), model.transform(x_query)


def mean_distance(x: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Mean distance of each query from its 15 nearest cells."""
    model = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(x)), algorithm="brute").fit(x)
    return model.kneighbors(queries)[0].mean(axis=1)


def usual_distance(x: np.ndarray, batches: np.ndarray) -> float:
    """Distance of a reference cell from its nearest in the other batches: 95 % lie closer."""
    found = [mean_distance(x[batches != name], x[batches == name]) for name in np.unique(batches)]
    return float(np.quantile(np.concatenate(found), NEAR))


def scores(case: Case, pair: Pair) -> Row:
    """How well types are told, and which share of known and of removed types lies within the reference."""
    x, x_query = pair
    labels, truth = column(case.reference, LABEL), column(case.query, LABEL)
    predicted = nearest_types(x, labels, x_query)
    is_known = np.isin(truth, labels)
    distance = mean_distance(x, x_query)
    near = distance < usual_distance(x, column(case.reference, BATCH))
    row: Row = {"accuracy": float((predicted == truth)[is_known].mean())}
    row["types"] = {str(name): accuracy_of(name, truth, predicted) for name in np.unique(truth[is_known])}
    row["near_known"] = float(near[is_known].mean())
    if case.removed:
        is_removed = truth == case.removed
        row |= {"near_removed": float(near[is_removed].mean()), "n_removed": int(is_removed.sum())}
        row["farther"] = float(roc_auc_score(is_removed, distance))
        names, counts = np.unique(predicted[is_removed], return_counts=True)
        row["taken_for"] = {str(name): int(count) for name, count in zip(names, counts)}
    return row


def measured(name: str, left_out: str, removed: str, seed: int) -> Iterator[Row]:
    """The rows of one question; ``off`` and ``pca`` only where no type is removed."""
    cells = case(name, left_out, removed)
    found, shift = ours(cells, seed)
    if not removed:
        found |= {"off": off(cells, seed), "pca": pca(cells, seed)}
    for method, pair in found.items():
        row = {"set": name, "left_out": left_out, "removed": removed, "seed": seed, "embedding": method}
        row |= {"n_reference": cells.reference.n_obs, "n_query": cells.query.n_obs}
        row |= {"reference_moved": shift} if method == "mapped" else {}
        yield row | scores(cells, pair) | {"versions": versions()}


def run(out: Path, seed: int) -> int:
    """All questions that have no rows yet, known types first; the number of those that failed."""
    done, failed = {(row["set"], row["left_out"], row["removed"], row["seed"]) for row in read_rows(out)}, 0
    asked = [(name, batch, "") for name, batch, _ in STUDIES]
    asked += [(name, batch, removed) for name, batch, types in STUDIES for removed in types]
    for question in asked:
        if (*question, seed) in done:
            continue
        try:
            rows = list(measured(*question, seed))
        except Exception:  # noqa: BLE001 - the other questions must not be lost to one; it is named, and counted
            failed += 1
            print(f"FAILED {question}\n{traceback.format_exc()}", file=sys.stderr, flush=True)
            continue
        for row in rows:
            append_row(out, row)
            print({key: row[key] for key in row if key != "versions"}, file=sys.stderr, flush=True)
    return failed


def markdown(header: list[str], body: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *body)]


def report(rows: list[Row]) -> str:
    """Tables of a results file."""
    known, removed = [row for row in rows if not row["removed"]], [row for row in rows if row["removed"]]
    text = [INTRODUCTION, ""]
    for name in dict.fromkeys(row["set"] for row in known):
        of = [row for row in known if row["set"] == name]
        types = sorted({kind for row in of for kind in row["types"]})
        body = [
            [row["left_out"], row["embedding"], f"{row['accuracy']:.3f}", f"{row['near_known']:.3f}"]
            + [f"{row['types'][kind]:.3f}" if kind in row["types"] else "–" for kind in types]
            for row in of
        ]
        text += [f"### {name}", "", *markdown(["left out", "embedding", "accuracy", "near", *types], body), ""]
    if removed:
        body = [
            [row["left_out"], row["removed"], str(row["n_removed"]), row["embedding"]]
            + [f"{row[key]:.3f}" for key in ("near_removed", "near_known", "farther", "accuracy")]
            + [max(row["taken_for"], key=row["taken_for"].get)]
            for row in removed
        ]
        header = ["left out", "not in the reference", "cells", "embedding", "near: new type", "near: known"]
        header += ["farther", "accuracy of known", "mostly taken for"]
        text += ["### A type that the reference lacks", "", *markdown(header, body), ""]
    most = max(row.get("reference_moved", 0.0) for row in rows)
    return "\n".join([*text, f"Largest change of any number of a reference's embedding by mapping: {most:.1e}."]) + "\n"


def main() -> None:
    """Measure, or print the tables of what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path)
    what.add_argument("--table", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.table:
        print(report(read_rows(args.table)), end="")
        return
    sys.exit(1 if run(args.out, args.seed) else 0)


if __name__ == "__main__":
    main()
