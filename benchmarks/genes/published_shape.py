"""A model of the published shape, trained to name the gene that stands at each place, in the published protocol.

OMP_NUM_THREADS=1 python benchmarks/genes/published_shape.py --out benchmarks/genes/results/published_shape.md

The published evaluation hides nothing, so all that it can tell is how well a model copies. This script trains an
encoder of the published shape (24 layers of width 512, state 64, random start) on cells of pbmc3k to copy, and asks it
for ten cells that it has not seen, before and after. A step reads some places of some cells, in their order. The answer
says nothing of what such a model knows of cells.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import torch
from trained import split_set

import genemamba_sc as gm
from genemamba_sc.benchmark import LABEL
from genemamba_sc.data import Tokens, to_batch
from genemamba_sc.nn import EncoderConfig, linear_cross_entropy

CELLS = 16
LR = 5e-4


def new_model(train: ad.AnnData, seed: int) -> gm.GeneMambaModel:
    """A model of the published shape with the genes of these cells, and a random gene table."""
    gm.GeneMambaModel.setup_anndata(train, labels_key=LABEL)
    torch.manual_seed(seed)
    config = replace(EncoderConfig.published(), vocab_size=gm.GeneVocabulary.from_anndata(train).size)
    model = gm.GeneMambaModel(train, encoder_config=config, gene_init="random")
    # The protocol asks trained models only; before the first step it meets the random start.
    model.is_trained_ = True
    return model


def drawn(tokens: Tokens, places: int, rng: np.random.Generator) -> Tokens:
    """Some cells, and of each some places in their order."""
    rows = rng.choice(len(tokens.lengths), CELLS, replace=False)
    lengths = np.minimum(tokens.lengths[rows], places)
    ids, values = np.zeros((CELLS, places), np.int32), np.zeros((CELLS, places), np.float32)
    for row, (cell, n) in enumerate(zip(rows, lengths)):
        kept = np.sort(rng.choice(tokens.lengths[cell], n, replace=False))
        ids[row, :n], values[row, :n] = tokens.ids[cell, kept], tokens.values[cell, kept]
    return Tokens(ids, values, lengths)


def copying_loss(model: gm.GeneMambaModel, tokens: Tokens) -> tuple[torch.Tensor, float]:
    """Cross-entropy of naming the gene at each place, by the head that the protocol asks, and the share of hits."""
    batch, module = to_batch(tokens), model.module
    lengths = batch["lengths"]
    read = module.inference(batch["token_ids"], batch["token_values"], lengths)
    real = torch.arange(read["hidden"].shape[1]) < lengths[:, None]
    query = module.gene_head.query(read["hidden"][real], read["context"].repeat_interleave(lengths, dim=0))
    targets = read["targets"][real]
    found = linear_cross_entropy(query, module.encoder.embeddings.weight, module.gene_head.bias, targets)
    return found.loss, float((found.predicted == targets).float().mean())


def train(model: gm.GeneMambaModel, tokens: Tokens, steps: int, places: int, seed: int) -> list[float]:
    """Train all weights by AdamW; returns the share of hits of each step, on the cells that the step reads."""
    rng = np.random.default_rng(seed)
    weights = list(model.module.parameters())
    optimiser = torch.optim.AdamW(weights, lr=LR, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LR, total_steps=steps)
    model.module.train()
    hits, start = [], time.perf_counter()
    for step in range(steps):
        loss, hit = copying_loss(model, drawn(tokens, places, rng))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
        hits.append(hit)
        if step % 10 == 9:
            print(f"{step + 1}: loss {loss.item():.3f}, {hit:.1%}, {time.perf_counter() - start:,.0f} s", flush=True)
    model.module.eval()
    return hits


def asked(model: gm.GeneMambaModel, test: ad.AnnData, seed: int) -> gm.tl.RankReconstruction:
    """Ten cells of the test part in the published protocol."""
    found = gm.tl.reconstruct_ranks(model, test, protocol="published", seed=seed)
    print(found, flush=True)
    return found


def row(what: str, method: str, found: gm.tl.RankReconstruction) -> str:
    """One line of the table."""
    scores = found.to_frame().loc[method]
    numbers = f"{scores.bleu:.4f} | {scores.spearman:.4f} | {scores.pearson:.4f}"
    return f"| {what} | {found.n_genes.sum():,} | {scores.l_dist:.0f} | {numbers} |"


def report(
    model: gm.GeneMambaModel,
    arguments: argparse.Namespace,
    before: gm.tl.RankReconstruction,
    after: gm.tl.RankReconstruction,
    hits: list[float],
) -> str:
    """The table, with what was trained and how."""
    n_weights = sum(weight.numel() for weight in model.module.encoder.parameters()) / 1e6
    asked_of = f"{n_weights:.1f} million weights of the encoder, {model.vocabulary.n_genes:,} genes"
    training = f"{arguments.steps} steps of {CELLS} cells and {arguments.places} places each"
    lines = [
        "# The published protocol, and a model of the published shape that was trained to copy", "",
        f"pbmc3k, one seed ({arguments.seed}): {asked_of};",
        f"{training}; ten cells of the fifth set aside, read whole.", "",
        "| model | genes | L-Dist | BLEU-4 | Spearman | Pearson |", "| --- | --- | --- | --- | --- | --- |",
        row("random start", "model", before), row("after training", "model", after),
        row("copy", "copy", after), row("mean rank", "mean rank", after), "",
        f"In its last ten steps the model named {np.mean(hits[-10:]):.2%} of the genes that it read.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Train, ask, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--places", type=int, default=128, help="places of a cell that a step reads")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    cells, test = split_set("pbmc3k", 3000, arguments.seed)
    model = new_model(cells, arguments.seed)
    tokens = gm.RankTokenizer(model.vocabulary, max_len=model.max_len_)(
        cells.X, gm.data.match_genes(cells.var, model.vocabulary).token_ids
    )
    before = asked(model, test, arguments.seed)
    hits = train(model, tokens, arguments.steps, arguments.places, arguments.seed)
    after = asked(model, test, arguments.seed)
    text = report(model, arguments, before, after, hits)
    arguments.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
