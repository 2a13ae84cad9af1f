"""What a bidirectional encoder learns from the published next-token objective, beside masked gene modelling.

python benchmarks/pretraining/leak.py

Small encoders of one shape are trained for some hundred steps on real cells, from the same spectral gene table: on
naming the next token with both directions read (as published), on the same with one direction, and on naming hidden
genes. Each is then asked on cells it was not trained on. Beside them stand a program that copies its input and one
that names the most frequent gene of each rank.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import torch
from scipy import sparse

import genemamba_sc as gm
from genemamba_sc.data import Tokens, match_genes, take_tokens, to_batch
from genemamba_sc.nn import (
    BiMambaEncoder,
    EncoderConfig,
    ObjectiveConfig,
    PretrainingObjectives,
    Reading,
    gene_log_frequency,
    next_token_loss,
)
from genemamba_sc.training import spectral_gene_table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "annotation"))
from splits import SETS, load_set

TARGETS = 512
RATE = 0.15
LR = 1e-2
CELLS = 32


@dataclass(frozen=True)
class Cells:
    """Tokens of the two parts, the start, and the usual gene of each rank."""

    train: Tokens
    test: Tokens
    table: torch.Tensor
    log_frequency: torch.Tensor
    usual: torch.Tensor


def read_cells(adata: ad.AnnData, length: int, seed: int) -> Cells:
    """Tokens of a data set, a fifth of the cells set aside; all that is learned comes from the others."""
    order = np.random.default_rng(seed).permutation(adata.n_obs)
    train, test = np.sort(order[adata.n_obs // 5 :]), np.sort(order[: adata.n_obs // 5])
    vocabulary = gm.GeneVocabulary.from_anndata(adata, indices=train)
    tokenizer, columns = gm.RankTokenizer(vocabulary, max_len=length), match_genes(adata.var, vocabulary).token_ids
    counts_of = sparse.csr_matrix(adata.X)
    tokens = tokenizer(counts_of[train], columns)
    counts = np.bincount(tokens.ids.ravel(), minlength=vocabulary.size).astype(np.float32)
    ranks = range(tokens.ids.shape[1])
    usual = [np.bincount(tokens.ids[tokens.lengths > rank, rank]).argmax() for rank in ranks]
    return Cells(
        tokens,
        tokenizer(counts_of[test], columns),
        torch.from_numpy(spectral_gene_table(tokens, vocabulary.size, 64, seed=seed)),
        gene_log_frequency(torch.from_numpy(counts)),
        torch.tensor(usual),
    )


def new_objectives(cells: Cells, seed: int) -> PretrainingObjectives:
    """An encoder of one layer without an expression weight, as published, and a tied head; the table stays."""
    torch.manual_seed(seed)
    config = EncoderConfig(
        vocab_size=len(cells.table), d_model=64, expand=2, expression="none", norm="token", residual_init=1.0
    )
    objectives = PretrainingObjectives(
        BiMambaEncoder(config), ObjectiveConfig(mask_rate=RATE, max_masked=TARGETS), rank_genes=cells.usual
    )
    weight = objectives.encoder.embeddings.weight
    with torch.no_grad():
        known = cells.table.abs().sum(dim=1) > 0
        weight[known] = cells.table[known]
    weight.requires_grad_(False)
    objectives.initialise_heads(cells.log_frequency)
    return objectives


def score_next(
    objectives: PretrainingObjectives, batch: dict[str, torch.Tensor], reading: Reading, most: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss and hits of naming the next token, for at most so many targets."""
    ids, lengths = batch["token_ids"], batch["lengths"]
    hidden = objectives.encoder(ids, None, lengths, reading=reading).hidden
    targets = ids[:, 1:][torch.arange(ids.shape[1] - 1) < lengths[:, None] - 1]
    drawn = slice(None) if most is None else torch.randperm(len(targets))[:most]
    assert objectives.gene_head is not None
    found = next_token_loss(hidden, objectives.gene_head, objectives.encoder.embeddings.weight, ids, lengths, drawn)
    return found.loss, found.predicted == targets[drawn]


def train(cells: Cells, task: Reading | None, steps: int, seed: int) -> PretrainingObjectives:
    """Train on the next token, reading so, or on hidden genes (``None``)."""
    objectives = new_objectives(cells, seed)
    rng = np.random.default_rng(seed)
    learned = [parameter for parameter in objectives.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=LR, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LR, total_steps=steps)
    for _ in range(steps):
        batch = to_batch(take_tokens(cells.train, rng.choice(len(cells.train.lengths), CELLS, replace=False)))
        loss = objectives(batch).loss if task is None else score_next(objectives, batch, task, TARGETS)[0]
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        schedule.step()
    return objectives.eval()


@torch.no_grad()
def accuracy_next(objectives: PretrainingObjectives, cells: Cells, reading: Reading) -> float:
    """Share of the next tokens that are named."""
    hits = [score_next(objectives, to_batch(part), reading, None)[1] for part in parts(cells.test)]
    return torch.cat(hits).float().mean().item()


@torch.no_grad()
def accuracy_hidden(objectives: PretrainingObjectives, cells: Cells, metric: str = "masked_accuracy") -> float:
    """Share of the hidden genes that are named; as many genes are hidden in each part of the cells, nearly."""
    generator = torch.Generator().manual_seed(0)
    found = [objectives(to_batch(part), generator).metrics[metric].item() for part in parts(cells.test)]
    return float(np.mean(found))


def parts(tokens: Tokens) -> list[Tokens]:
    """Tokens, up to 64 cells at a time."""
    n_cells = len(tokens.lengths)
    return [take_tokens(tokens, rows) for rows in np.array_split(np.arange(n_cells), -(-n_cells // 64))]


def usual_next(cells: Cells) -> float:
    """Accuracy of naming the most frequent gene of the next rank."""
    ids, lengths = cells.test.ids[:, 1:], cells.test.lengths
    real = np.arange(ids.shape[1]) < lengths[:, None] - 1
    return float((ids == cells.usual.numpy()[1 : ids.shape[1] + 1])[real].mean())


def measure(cells: Cells, steps: int, seed: int) -> list[tuple[str, str, str, float]]:
    """Rows of the table: what is asked, trained on what, reading what, accuracy."""
    tasks: tuple[Reading | None, ...] = ("both", "left to right", None)
    both, one, masked = (train(cells, task, steps, seed) for task in tasks)
    usual_hidden = accuracy_hidden(masked, cells, "baseline_accuracy")
    return [
        ("next token", "both directions", "both directions: the answer is read", accuracy_next(both, cells, "both")),
        ("next token", "both directions", "left to right only", accuracy_next(both, cells, "left to right")),
        ("next token", "left to right only", "left to right only", accuracy_next(one, cells, "left to right")),
        ("next token", "copy of the next token", "both directions: the answer is read", 1.0),
        ("next token", "most frequent gene of the rank", "nothing", usual_next(cells)),
        ("hidden gene", "masked modelling", "both directions", accuracy_hidden(masked, cells)),
        ("hidden gene", "copy of what stands there", "both directions", 0.0),
        ("hidden gene", "most frequent gene of the rank", "nothing", usual_hidden),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", default="pbmc3k", choices=SETS)
    parser.add_argument("--length", type=int, default=64, help="tokens per cell")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()
    cells = read_cells(load_set(arguments.set), arguments.length, arguments.seed)
    rows = measure(cells, arguments.steps, arguments.seed)
    print("| asked for | trained on, or rule | asked while reading | accuracy |\n|---|---|---|---|")
    for *words, accuracy in rows:
        print(f"| {' | '.join(words)} | {accuracy:.1%} |")
    took = time.perf_counter() - start
    print(f"\n{arguments.steps} steps of {CELLS} cells, {arguments.length} tokens each; {took:.0f} s")


if __name__ == "__main__":
    main()
