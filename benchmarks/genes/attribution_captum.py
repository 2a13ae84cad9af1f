"""Attributions of embeddings beside those of captum: the same path, the same start, how exact and how long.

OMP_NUM_THREADS=1 python benchmarks/genes/attribution_captum.py --out benchmarks/genes/results/attribution_captum.md

Needs captum. The models are those of reconstruction.py. captum's IntegratedGradients gets a function from the rows of
the gene table that the tokens of a cell have to the score that ``gm.tl.attribute(target="embedding")`` attributes, and
the mean row as the baseline. Our seconds include the directions and the deletion test of one cell. What a cell misses
is the distance between the sum of its attributions and the difference of the score from that of the baseline.
"""

import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import torch
from captum.attr import IntegratedGradients
from torch import Tensor
from torch.func import functional_call
from trained import asked_for, split_set, trained_model

import genemamba_sc as gm
from genemamba_sc.data import query_source, to_batch

SETS = ("pbmc3k", "zheng_sorted", "kang_ctrl")
CELLS, STEPS = 40, (50, 200, 1000)


def directions(model: gm.GeneMambaModel, cells: object) -> np.ndarray:
    """Unit vectors from the mean of the cells to each."""
    latent = model.get_latent_representation(cells, integrated=False, key_added=None).astype(np.float64)
    away = latent - latent.mean(axis=0)
    return away / np.linalg.norm(away, axis=1, keepdims=True)


def score_of(model: gm.GeneMambaModel, values: Tensor, direction: np.ndarray) -> Callable[[Tensor], Tensor]:
    """The score of a cell as a function of the rows of its tokens, (k, l, d) -> (k,)."""
    aim = torch.as_tensor(direction, dtype=torch.float32)

    def score(rows: Tensor) -> Tensor:
        k, length = rows.shape[:2]
        places = torch.arange(k * length).view(k, length)
        inputs = (places, values.expand(k, length), torch.full((k,), length))
        table = {"embeddings.weight": rows.flatten(0, 1)}
        return functional_call(model.module.encoder, table, inputs).cell @ aim

    return score


def rows_of(name: str, most: int, seed: int, work: object) -> list[str]:
    train, test = split_set(name, most, seed)
    model = trained_model(name, train, seed, work, most)
    cells = test[:CELLS].copy()
    setup = {"gene_id_key": "ensembl"} if "ensembl" in cells.var else {}
    tokens = query_source(cells, model.vocabulary, model.max_len_, setup).tokens(np.arange(cells.n_obs))
    start = time.process_time()
    ours = gm.tl.attribute(model, cells, target="embedding", n_tested=1)
    seconds = time.process_time() - start
    found = [f"| {name} | gm.tl.attribute | {seconds:.1f} | {ours.gap.max():.1e} | – |"]
    table = model.module.encoder.embeddings.weight.detach()
    real = np.arange(tokens.ids.shape[1]) < tokens.lengths[:, None]
    counts = np.bincount(tokens.ids[real], minlength=len(table))
    mean = torch.as_tensor(counts @ table.double().numpy() / counts.sum(), dtype=torch.float32)
    aims = directions(model, cells)
    module = model.module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    for steps in STEPS:
        start, gaps, apart = time.process_time(), [], []
        for i in range(cells.n_obs):
            batch = to_batch(tokens)
            length = int(tokens.lengths[i])
            ids, values = batch["token_ids"][i, :length], batch["token_values"][i, :length]
            score, rows = score_of(model, values, aims[i]), table[ids][None]
            base = mean.expand_as(rows)
            scores = IntegratedGradients(score).attribute(rows, base, n_steps=steps, internal_batch_size=8).sum(dim=2)
            with torch.no_grad():
                gaps.append(abs(float(scores.sum() - (score(rows) - score(base)))))
            own = ours.scores[[i]].toarray()[0][ids.numpy() - 2]
            apart.append(np.abs(own - scores[0].numpy()).max() / np.abs(own).max())
        seconds = time.process_time() - start
        found.append(f"| {name} | captum, {steps} steps | {seconds:.1f} | {max(gaps):.1e} | {max(apart):.1e} |")
    return found


def main() -> None:
    arguments = asked_for(__doc__, SETS)
    table = [
        "| set | way | processor seconds | largest miss of a cell | largest difference, shares of a cell's largest |",
        "|---|---|---|---|---|",
    ]
    for name in arguments.sets.split(","):
        rows = rows_of(name, arguments.cells, arguments.seed, arguments.work)
        table += rows
        print("\n".join(rows), flush=True)
    head = f"# Attribution beside captum {version('captum')}, {CELLS} cells, one thread"
    arguments.out.write_text("\n".join([head, "", *table, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
