"""A set annotated by what is known of other studies: without a label of its own, and with few.

    python benchmarks/annotation/across_studies.py --mini runs/mini_{target} --supervised runs/supervised_{target} \\
        --bag runs/bag_{target} --contrast runs/contrast_{target} --out benchmarks/annotation/results/supervised.jsonl
    python benchmarks/annotation/across_studies.py --table benchmarks/annotation/results/supervised.jsonl

The folders are what `supervised.py` made of `mini` without the target (`benchmarks/pretraining/mini.py --without`): a
head alone (`--recipe '{"layer_lr": 0, "table_lr": 0}'`, the encoder stays `mini`), all of it, all without the layer
(`--n-layer 0`), and all with the contrast (`--recipe '{"steps": 400, "contrast": 0.5}'`).

Zero-shot: types of the Cell Ontology (`cell_ontology.tsv`), fine ones predicted, broad ones their parents; types that
no reference has are not asked. `lr`, `knn` and the fits read the same references and genes, chosen with the penalty by
annotating each reference by the others; `lr_wide` and the like are the other kinds of genes (`Pool.view`). Few labels:
the set's own types, draws as in `finetune.py`. `_fit` is the package's fit (zero-shot: `train()` with its defaults; few
labels: `train(max_epochs=0)`), `_probe` a regression on the embedding, `_head` the head of `supervised.py`,
`_neighbours` 15 cells of the references. `within` is the accuracy of 15 neighbours among the set's own labelled cells.
A second call goes on where it stopped.
"""

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
import scvi
from ontology import BROAD, FINE, STUDY, UNKNOWN, Pool, harmonised, parents, pooled, references
from pooled_baselines import KINDS, Choice, best, by_neighbours, expression, fitted, scores_of_choices
from rows import Row, append_row, read_rows
from sets import load_set
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from genemamba_sc import GeneMambaModel
from genemamba_sc.benchmark import accuracy, macro_f1

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pretraining"))
from command_line import parse
from finetune import QUIET, annotate
from probes import NEIGHBOURS, few, knn_accuracy, probe_of

TARGETS = ("zheng_sorted", "pbmc3k", "kang_ctrl")
SHARES = (0.01, 0.02, 0.05, 0.1)
MOST_CELLS = 3000
ENCODERS = ("mini", "supervised", "bag", "contrast")
FITTED = ("mini", "supervised")
COLUMNS = ["task", "target", "method", "level", "share", "seed", "accuracy", "macro_f1", "chosen"]


class Study:
    """A target, its references, and what is fitted on these once for all rows."""

    def __init__(self, target: str, folders: dict[str, Path], rows: list[Row]) -> None:
        self.target, self.folders = target, folders
        found = [row["chosen"] for row in rows if row["target"] == target and "chosen" in row]
        # What an earlier call chose; it took a minute.
        self.recorded = Choice(found[0]["kind"], found[0]["strength"]) if found else None
        self.cells, self.query = load_set(target), harmonised(target)
        self.parts = references(target, MOST_CELLS)

    @cached_property
    def scores(self) -> dict[Choice, float]:
        return scores_of_choices(self.parts, list(self.cells.var_names))

    @cached_property
    def choice(self) -> Choice:
        return self.recorded or best(self.scores)

    @cached_property
    def view(self) -> Pool:
        return pooled(self.parts, list(self.cells.var_names)).view(self.choice.kind)

    @cached_property
    def regression(self) -> LogisticRegression:
        return fitted(self.view, self.choice.strength)

    def regression_scores(self, cells: ad.AnnData) -> np.ndarray:
        return self.regression.decision_function(expression(cells, list(self.view.cells.var_names)))

    def embedding(self, encoder: str, cells: ad.AnnData) -> np.ndarray:
        model = GeneMambaModel.from_pretrained(self.folders[encoder], accelerator="cpu")
        return model.get_latent_representation(cells, key_added=None)

    @cached_property
    def embeddings(self) -> dict[str, np.ndarray]:
        """Of all cells of the target."""
        return {encoder: self.embedding(encoder, self.cells) for encoder in self.folders}


def by_fit(study: Study, encoder: str) -> np.ndarray:
    """What the package's default training on the references says."""
    train = study.view.cells.copy()
    scvi.settings.seed = 0
    GeneMambaModel.setup_anndata(train, batch_key=STUDY, labels_key=FINE)
    model = GeneMambaModel.from_pretrained(study.folders[encoder], adata=train, accelerator="cpu")
    model.train(integrate=False, accelerator="cpu", **QUIET)  # integration does not change what is predicted
    return np.asarray(model.predict_celltype(study.query[:, train.var_names].copy())).astype(str)


def by_head(study: Study, encoder: str) -> np.ndarray:
    head = np.load(f"{study.folders[encoder]}.head.npz")
    z = study.embedding(encoder, study.query)
    return head["fine"][(z @ head["weight"].T + head["bias"]).argmax(axis=1)]


def by_embedded_neighbours(study: Study, encoder: str) -> np.ndarray:
    known = {name: part[(part.obs[FINE] != UNKNOWN).to_numpy()].copy() for name, part in study.parts.items()}
    z = np.concatenate([study.embedding(encoder, part) for part in known.values()])
    fine = np.concatenate([part.obs[FINE] for part in known.values()])
    return KNeighborsClassifier(NEIGHBOURS).fit(z, fine).predict(study.embedding(encoder, study.query))


def by_regression(study: Study, kind: str) -> np.ndarray:
    """The best regression on one kind of references and genes; `lr` is the one of these that the references prefer."""
    view = pooled(study.parts, list(study.cells.var_names)).view(kind)
    choice = best({choice: score for choice, score in study.scores.items() if choice.kind == kind})
    return fitted(view, choice.strength).predict(expression(study.query, list(view.cells.var_names)))


def zero_shot_methods(study: Study) -> dict[str, Callable[[], np.ndarray]]:
    found = {
        "lr": lambda: study.regression.predict(expression(study.query, list(study.view.cells.var_names))),
        "knn": lambda: by_neighbours(study.view, study.query),
        "mini_fit": lambda: by_fit(study, "mini"),
    }
    for name in ENCODERS:
        found[f"{name}_head"] = lambda name=name: by_head(study, name)
        found[f"{name}_neighbours"] = lambda name=name: by_embedded_neighbours(study, name)
    found["supervised_fit"] = lambda: by_fit(study, "supervised")
    return found | {f"lr_{kind}": lambda kind=kind: by_regression(study, kind) for kind in KINDS}


def scored(study: Study, predicted: np.ndarray) -> Iterator[Row]:
    """Rows of both levels; cells of types that no reference has are not asked."""
    broader = parents()
    for level in (FINE, BROAD):
        truth = study.query.obs[level].to_numpy().astype(str)
        known = set().union(*(part.obs[level] for part in study.parts.values())) - {UNKNOWN}
        asked = np.isin(truth, sorted(known))
        found = predicted if level == FINE else np.array([broader[name] for name in predicted])
        scores = {"accuracy": accuracy(truth[asked], found[asked]), "macro_f1": macro_f1(truth[asked], found[asked])}
        yield {"level": level, "n_test": int(asked.sum()), **scores}


def zero_shot(study: Study, options: argparse.Namespace, done: set[tuple]) -> Iterator[Row]:
    for method, predict in zero_shot_methods(study).items():
        if (study.target, "zero-shot", method, options.run) in done or method not in (options.methods or method):
            continue
        about = {"task": "zero-shot", "target": study.target, "method": method, "seed": options.run}
        if method == "lr":
            about["chosen"] = asdict(study.choice) | {"genes": study.view.cells.n_vars, "cells": study.view.cells.n_obs}
        for row in scored(study, predict()):
            yield about | row


def stacked_regression(study: Study, values: sp.csr_matrix, scores: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """Few labels on log values and on the scores of the pooled regression, both with the same spread."""
    spread = values.multiply(values).sum() / values.shape[0] - np.square(values.mean(axis=0)).sum()
    scores = scores - scores.mean(axis=0)
    scores = scores * np.sqrt(spread / np.square(scores).sum(axis=1).mean())
    both = sp.hstack([values, sp.csr_matrix(scores)]).tocsr()
    labels = study.cells.obs["cell_type"].astype(str).to_numpy()
    return LogisticRegression(C=100, max_iter=300).fit(both[labelled], labels[labelled]).predict(both)


def few_labels(study: Study, share: float, seed: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Scores of one draw, by method."""
    labels = study.cells.obs["cell_type"].astype(str).to_numpy()
    labelled, test = few(labels, share, seed)
    train, _ = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=seed)
    values = expression(study.cells, list(study.cells.var_names))
    alone = LogisticRegression(C=100, max_iter=300).fit(values[labelled], labels[labelled]).predict(values)
    found = {
        "lr_alone": alone,
        "lr_pooled": stacked_regression(study, values, study.regression_scores(study.cells), labelled),
    }
    for encoder, z in study.embeddings.items():
        found[f"{encoder}_probe"] = probe_of(z, train).fit(z[labelled], labels[labelled]).predict(z)
    for method, names in found.items():
        yield method, {"accuracy": accuracy(labels[test], names[test]), "macro_f1": macro_f1(labels[test], names[test])}
    for encoder in FITTED:
        scores = annotate(study.cells, share, seed, "mini_start", study.folders[encoder])
        yield f"{encoder}_fit", {name: scores[name] for name in ("accuracy", "macro_f1")}


def rows_of(study: Study, options: argparse.Namespace, done: set[tuple]) -> Iterator[Row]:
    tasks = options.tasks.split(",")
    if "zero-shot" in tasks:
        yield from zero_shot(study, options, done)
    if "within" in tasks and (study.target, "within", ENCODERS[0]) not in done:
        labels = study.cells.obs["cell_type"].astype(str).to_numpy()
        for encoder, z in study.embeddings.items():
            yield {"task": "within", "target": study.target, "method": encoder, "accuracy": knn_accuracy(z, labels)}
    for share in map(float, options.shares.split(",")) if "few" in tasks else ():
        for seed in range(options.seeds):
            if (study.target, "few", share, seed) not in done:
                for method, scores in list(few_labels(study, share, seed)):
                    yield {
                        "task": "few",
                        "target": study.target,
                        "method": method,
                        "share": share,
                        "seed": seed,
                        **scores,
                    }


def keys_of(rows: list[Row]) -> set[tuple]:
    """What is done: zero-shot methods of a run, encoders within, draws of few labels."""
    found = set()
    for row in rows:
        of_task = {"few": ("share", "seed"), "zero-shot": ("method", "seed"), "within": ("method",)}[row["task"]]
        found.add((row["target"], row["task"], *(row[name] for name in of_task)))
    return found


def in_percent(rows: pd.DataFrame) -> str:
    """Means, and of how many runs or draws."""
    mean = 100 * rows[["accuracy", "macro_f1"]].mean()
    return f"{mean['accuracy']:.1f} / {mean['macro_f1']:.1f} [{len(rows)}]"


def table_of(rows: pd.DataFrame, column: str, columns: list, head: list[str]) -> list[str]:
    """A line for each target and method, a column for each of ``columns``."""
    lines = [["set", "method", *head], ["---"] * (2 + len(head))]
    for (target, method), part in rows.groupby(["target", "method"], sort=False):
        cells = [in_percent(own) if len(own) else "–" for own in (part[part[column] == value] for value in columns)]
        lines.append([target, method, *cells])
    return ["| " + " | ".join(line) + " |" for line in lines]


def table(path: Path) -> str:
    """Accuracy / macro-F1 in %, few labels as means over the draws."""
    rows = pd.DataFrame(read_rows(path)).reindex(columns=COLUMNS)  # a run that goes on may lack some
    first, few_rows, within = (rows[rows["task"] == task] for task in ("zero-shot", "few", "within"))
    sizes = first[first["method"] == "lr"].groupby("target", sort=False)["chosen"].first()
    lines = ["Zero-shot:", "", *table_of(first, "level", [FINE, BROAD], ["fine", "broad"]), ""]
    lines += [f"Chosen on the references of `{target}`: {chosen}." for target, chosen in sizes.items()]
    heads = [f"{100 * share:g} % of the labels" for share in SHARES]
    lines += ["", "Few labels:", ""]
    lines += table_of(few_rows, "share", list(SHARES), heads)
    lines += ["", "Neighbours within the set, with all labels:", "", "| set | " + " | ".join(ENCODERS) + " |"]
    lines += ["|" + " --- |" * (1 + len(ENCODERS))]
    for target, part in within.groupby("target", sort=False):
        values = part.set_index("method")["accuracy"].reindex(ENCODERS)
        lines.append(f"| {target} | " + " | ".join(f"{100 * value:.1f}" for value in values) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ENCODERS:
        parser.add_argument(f"--{name}", help="folder of these weights, with {target} in it")
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--tasks", default="zero-shot,within,few")
    parser.add_argument("--methods", type=lambda text: text.split(","), help="of the zero-shot task; all by default")
    parser.add_argument("--run", type=int, default=0, help="seed of the supervised weights, which rows name")
    parser.add_argument("--shares", default=",".join(f"{share:g}" for share in SHARES))
    parser.add_argument("--seeds", type=int, default=3)
    options = parse(parser, table, ENCODERS)
    warnings.filterwarnings("ignore", message="The query has")  # panels are what is asked about
    scvi.settings.progress_bar_style = None
    for target in options.targets.split(","):
        folders = {name: Path(getattr(options, name).format(target=target)) for name in ENCODERS}
        rows = read_rows(options.out)
        study = Study(target, folders, rows)
        for row in rows_of(study, options, keys_of(rows)):
            append_row(options.out, row)


if __name__ == "__main__":
    main()
