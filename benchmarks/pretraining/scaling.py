"""What length, data, width and depth of pretraining do to the closed-form start, one at a time.

    python benchmarks/pretraining/scaling.py --target zheng_sorted --work runs/scaling --out scaling.jsonl \\
        --runs '[{}, {"steps": 3200}, {"share": 0.25}, {"encoder": {"d_model": 128}}, {"encoder": {"n_layer": 2}}]'
    python benchmarks/pretraining/scaling.py --table scaling.jsonl

A run is `mini` (mini.py, without the target) but for what it names: `steps`, `share` of the cells of each set, `lr`,
`table_lr`, fields of `encoder` and `objective`, `seed`. Each row has the start of that very run (its table, in the same
encoder, before any step) and the encoder after it, on cells of the target, which neither saw: `loss`, the cosine
distance that denoising minimises, comparable within one width; accuracy of 15 neighbours; probes with a share of the
labels; and probes in studies of few cells (few_cells.py).
"""

import argparse
import json
import logging
import time
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import torch
from command_line import parse
from corpus import SETS, read_set
from evaluate import spectral_encoder
from few_cells import draw
from mini import LEAST_GENES, OBJECTIVES, corpus_of, sets_without
from objectives import embed
from probes import knn_accuracy, probe, probe_of
from safetensors.torch import load_file
from sklearn.metrics import f1_score

from genemamba_sc import read_pretrained
from genemamba_sc.corpus import TokenCorpus, build_corpus
from genemamba_sc.data import Tokens, length_batches, query_source, take_tokens, to_batch
from genemamba_sc.nn import BiMambaEncoder, EncoderConfig, ObjectiveConfig, PretrainingObjectives
from genemamba_sc.pretraining import SIZES, PretrainingConfig, RunConfig, pretrain

SHARES = (0.01, 0.1, 1.0)
STUDIES = ((200, 0.25), (500, 0.1))
DRAWS = 10
DEFAULTS = {"steps": 800, "share": 1.0, "encoder": {}, "objective": {}, "seed": 0, "lr": 1e-3, "table_lr": None}
DENOISE_ONLY = {**OBJECTIVES, "denoise_weight": 1.0, "decode_weight": 0.0}


def part_of(corpus: TokenCorpus, names: list[str], share: float, folder: Path) -> TokenCorpus:
    """A corpus of a share of the cells of each set, with the same vocabulary."""
    if share == 1.0:
        return corpus
    files = []
    for name in names:
        adata = read_set(name)
        cells = np.random.default_rng(0).choice(adata.n_obs, max(1, round(share * adata.n_obs)), replace=False)
        files.append(folder / f"{name}.h5ad")
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        ad.AnnData(adata.X[np.sort(cells)], var=adata.var[[]]).write_h5ad(files[-1])
    build_corpus(files, folder / "corpus", vocabulary=corpus.vocabulary, min_genes=LEAST_GENES)
    return TokenCorpus.open(folder / "corpus")


@torch.inference_mode()
def held_out_loss(encoder: BiMambaEncoder, teacher: torch.Tensor, tokens: Tokens) -> float:
    """Mean cosine distance of the embedding of one half of each cell's genes to the target of the other."""
    objectives = PretrainingObjectives(encoder.eval(), ObjectiveConfig(**DENOISE_ONLY), spectral=teacher)
    generator = torch.Generator().manual_seed(0)
    losses, cells = [], []
    for rows in length_batches(tokens.lengths, 16_384):
        losses.append(float(objectives(to_batch(take_tokens(tokens, rows)), generator).parts["denoise"]))
        cells.append(len(rows))
    return float(np.average(losses, weights=cells))


def quality(z: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    found = {"knn": knn_accuracy(z, labels)}
    for share in SHARES:
        found[f"probe_{share:g}"], found[f"probe_f1_{share:g}"] = probe(z, labels, share)
    for n_cells, share in STUDIES:
        scores = []
        for seed in range(DRAWS):
            cells, labelled, test = draw(labels, n_cells, share, seed)
            names = probe_of(z, cells).fit(z[labelled], labels[labelled]).predict(z[test])
            scores.append(((names == labels[test]).mean(), f1_score(labels[test], names, average="macro")))
        found[f"study_{n_cells}"], found[f"study_f1_{n_cells}"] = map(float, np.mean(scores, axis=0))
    return found


def row_of(target: str, given: dict, work: Path) -> dict[str, object]:
    run = DEFAULTS | given
    names = sets_without(target)
    whole = corpus_of(names, work / f"without_{target}")
    corpus = part_of(whole, names, run["share"], work / f"without_{target}_{run['share']:g}")
    config = EncoderConfig(**{"vocab_size": corpus.vocabulary.size, **SIZES["mini"], **run["encoder"]})
    name = "_".join(f"{key}={value}" for key, value in sorted(given.items())) or "mini"
    out = work / "".join(c for c in f"{target}_{name}" if c.isalnum() or c in "_=.")
    started = time.perf_counter()
    if not out.exists():
        pretrain(
            corpus,
            out,
            config,
            ObjectiveConfig(**{**OBJECTIVES, **run["objective"]}),
            PretrainingConfig(n_steps=run["steps"], lr=run["lr"], table_lr=run["table_lr"], seed=run["seed"]),
            RunConfig(token_budget=65_536, accelerator="cpu", log_every=50),
        )
    seconds = round(time.perf_counter() - started)
    checkpoint, adata = read_pretrained(out), read_set(target)
    labels = adata.obs["cell_type"].astype(str).to_numpy()
    tokens = query_source(adata, checkpoint.vocabulary, checkpoint.max_len, {}).tokens(np.arange(adata.n_obs))
    teacher = load_file(Path(f"{out}.run") / "start.safetensors")["table"]
    trained = BiMambaEncoder(config)
    trained.load_state_dict(checkpoint.encoder)
    start = spectral_encoder(config, corpus, run["seed"], denoised=True)
    row = {"target": target, "run": given, "cells": corpus.n_cells, "seconds": seconds}
    for name, encoder in (("start", start), ("trained", trained)):
        row[name] = {"loss": held_out_loss(encoder, teacher, tokens), **quality(embed(encoder, tokens), labels)}
    return row


def table(path: Path) -> str:
    """Trained, and in brackets what training added to the start of that run; means over seeds."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    frame = pd.json_normalize(rows)
    frame["run"] = [json.dumps({k: v for k, v in row["run"].items() if k != "seed"}) for row in rows]
    groups = frame.groupby(["target", "run", "cells"], sort=False)
    mean, seeds = groups.mean(numeric_only=True), groups.size()
    names = [
        name.removeprefix("trained.") for name in frame.columns if name.startswith("trained.") and "f1" not in name
    ]
    lines = [
        "| " + " | ".join(["set left out", "run", "cells", "seeds", *names]) + " |",
        "|" + " --- |" * (4 + len(names)),
    ]
    for key, row in mean.iterrows():
        cells = [f"{row[f'trained.{n}']:.3f} ({row[f'trained.{n}'] - row[f'start.{n}']:+.3f})" for n in names]
        lines.append("| " + " | ".join([key[0], key[1][1:-1] or "mini", f"{key[2]:,}", str(seeds[key]), *cells]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=SETS, default="zheng_sorted")
    parser.add_argument("--work", type=Path, help="folder of corpora and runs, taken up there if interrupted")
    parser.add_argument("--runs", default="[{}]", help="JSON: list of what each run changes")
    options = parse(parser, table, ("work",))
    logging.basicConfig(level=logging.WARNING)
    for given in json.loads(options.runs):
        row = row_of(options.target, given, options.work)
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
