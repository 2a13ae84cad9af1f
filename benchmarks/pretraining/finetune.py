"""Annotation from `mini` with few and with all labels, through the public interface: fine-tuned, and from scratch.

    python benchmarks/pretraining/finetune.py --checkpoints runs/without_{target} --out finetune.jsonl
    python benchmarks/pretraining/finetune.py --table finetune.jsonl

The same draws of labelled and test cells as in evaluate.py. Every method gets all cells of the training part; those
that were not drawn have no label. The test cells are annotated as a query.
"""

import argparse
import json
import time
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scvi
from command_line import parse
from corpus import read_set
from probes import few
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split

from genemamba_sc import GeneMambaModel

SHARES = (0.01, 0.02, 0.05, 0.1, 1.0)
UNKNOWN = "unknown"
QUIET = {"enable_progress_bar": False, "enable_model_summary": False}


def annotate(adata: ad.AnnData, share: float, seed: int, method: str, weights: Path) -> dict[str, float]:
    """Accuracy and macro-F1 on the test cells of one draw; from ``weights`` where ``method`` is of mini."""
    labels = adata.obs["cell_type"].astype(str).to_numpy()
    labelled_only, max_epochs = "_labelled" in method, 0 if "_start" in method else None
    labelled, test = few(labels, share, seed)
    train, _ = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=seed)
    known = np.full(len(labels), UNKNOWN, dtype=object)
    known[labelled] = labels[labelled]
    reference = adata[np.sort(labelled if labelled_only else train)].copy()
    reference.obs["known"] = known[np.sort(labelled if labelled_only else train)]
    scvi.settings.seed = seed
    started = time.perf_counter()
    GeneMambaModel.setup_anndata(reference, labels_key="known", unlabeled_category=UNKNOWN)
    if method.startswith("mini"):
        model = GeneMambaModel.from_pretrained(weights, adata=reference)
    else:
        model = GeneMambaModel(reference)
    model.train(max_epochs, **QUIET)
    seconds = time.perf_counter() - started
    found = np.asarray(model.predict_celltype(adata[test].copy())).astype(str)
    return {
        "accuracy": float((found == labels[test]).mean()),
        "macro_f1": float(f1_score(labels[test], found, average="macro", labels=np.unique(labels[test]))),
        "seconds": round(seconds, 1),
    }


def table(path: Path) -> str:
    """Means over the draws, accuracy / macro-F1."""
    frame = pd.DataFrame([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
    mean = frame.groupby(["target", "method", "share"], sort=False)[["accuracy", "macro_f1"]].mean()
    shares = sorted(frame["share"].unique())
    head = ["target", "method", *(f"{100 * share:g} % of the labels" for share in shares)]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for target, method in frame[["target", "method"]].drop_duplicates().itertuples(index=False):
        rows = [mean.loc[(target, method, s)] if (target, method, s) in mean.index else None for s in shares]
        cells = ["" if row is None else f"{row['accuracy']:.3f} / {row['macro_f1']:.3f}" for row in rows]
        lines.append("| " + " | ".join([target, method, *cells]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", help="folder of each checkpoint, with {target} in it")
    parser.add_argument("--targets", default="zheng_sorted,pbmc3k,kang_ctrl")
    parser.add_argument("--shares", default=",".join(f"{share:g}" for share in SHARES))
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument(
        "--methods",
        default="mini,scratch",
        help="mini, scratch; with _start: no step of training; with _labelled: no unlabelled cells",
    )
    options = parse(parser, table, ("checkpoints",))
    scvi.settings.progress_bar_style = None
    for target in options.targets.split(","):
        adata = read_set(target)
        for share in map(float, options.shares.split(",")):
            for seed in range(options.draws):
                for method in options.methods.split(","):
                    weights = Path(options.checkpoints.format(target=target))
                    row: dict[str, object] = {"target": target, "method": method, "share": share, "draw": seed}
                    row |= annotate(adata, share, seed, method, weights)
                    with options.out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
