"""Which objective improves the spectral start: pretrain without a set, then ask that set.

    python benchmarks/pretraining/objectives.py --targets zheng_sorted,pbmc3k,kang_ctrl --seeds 0,1,2 \\
        --objectives '{"contrast": {"contrast_weight": 1.0}}' --out objectives.jsonl

One JSON line per target, seed and objective. ``start`` is the spectral table before any step.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from corpus import Corpus, corpus_without, published_vocabulary, read_set, tokens_of
from probes import knn_accuracy, probe
from torch import nn

from genemamba_sc.data import Tokens, length_batches, take_tokens, to_batch
from genemamba_sc.nn import BiMambaEncoder, EncoderConfig, ObjectiveConfig, PretrainingObjectives, gene_log_frequency
from genemamba_sc.training import denoised_gene_table, spectral_gene_table

OFF = {
    "mgm_weight": 0.0,
    "spectral_weight": 0.0,
    "decode_weight": 0.0,
    "contrast_weight": 0.0,
    "denoise_weight": 0.0,
    "pathway_weight": 0.0,
}
SHARES = (0.01, 0.02, 0.05, 0.1, 1.0)


@torch.inference_mode()
def embed(encoder: BiMambaEncoder, tokens: Tokens) -> np.ndarray:
    encoder.eval()
    z = np.empty((len(tokens.lengths), encoder.config.d_model), dtype=np.float32)
    for rows in length_batches(tokens.lengths, 16_384):
        batch = to_batch(take_tokens(tokens, rows))
        z[rows] = encoder(batch["token_ids"], batch["token_values"], batch["lengths"]).cell.numpy()
    encoder.train()
    return z


def evaluate(z: np.ndarray, labels: np.ndarray, shares: tuple[float, ...]) -> dict[str, float]:
    found = {"knn": knn_accuracy(z, labels)}
    for share in shares:
        found[f"probe_{share:g}"], found[f"probe_f1_{share:g}"] = probe(z, labels, share)
    return {name: round(value, 4) for name, value in found.items()}


def new_encoder(
    corpus: Corpus, config: EncoderConfig, seed: int, denoised: bool = False
) -> tuple[BiMambaEncoder, torch.Tensor]:
    """An encoder whose gene table is the spectral one, shrunk or not, and the spectral one itself."""
    torch.manual_seed(seed)
    encoder = BiMambaEncoder(config)
    table = torch.from_numpy(spectral_gene_table(corpus.tokens, config.vocab_size, config.d_model, seed=seed))
    with torch.no_grad():
        shrunk = torch.from_numpy(denoised_gene_table(corpus.tokens, table.numpy(), seed=seed)) if denoised else table
        encoder.embeddings.weight.copy_(shrunk)
    return encoder, table


def batches(corpus: Corpus, size: int, n: int, seed: int) -> list[np.ndarray]:
    """Cells of one set each, sets drawn by the square root of their size: negatives from another study are too easy."""
    rng = np.random.default_rng(seed)
    cells = [
        np.flatnonzero((corpus.origin == k) & (corpus.tokens.lengths > 20)) for k in range(corpus.origin.max() + 1)
    ]
    weight = np.sqrt([len(c) for c in cells])
    origin = rng.choice(len(cells), n, p=weight / weight.sum())
    return [rng.choice(cells[k], min(size, len(cells[k])), replace=False) for k in origin]


def optimiser(
    objectives: PretrainingObjectives, lr: float, table_lr: float, weight_decay: float
) -> torch.optim.Optimizer:
    table = objectives.encoder.embeddings.weight
    table.requires_grad_(table_lr > 0)
    rest = [p for p in objectives.parameters() if p is not table]
    groups = [{"params": rest, "lr": lr}, *([{"params": [table], "lr": table_lr}] if table_lr else [])]
    return torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay, betas=(0.9, 0.98))


def pretrain(
    objectives: PretrainingObjectives, corpus: Corpus, options: argparse.Namespace, seed: int
) -> dict[str, float]:
    steps = options.steps
    optim = optimiser(objectives, options.lr, options.table_lr, options.weight_decay)
    warm = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optim, lambda i: min(1.0, (i + 1) / warm) * 0.5 * (1 + np.cos(np.pi * min(1.0, i / steps)))
    )
    last: dict[str, list[float]] = {}
    for step, rows in enumerate(batches(corpus, options.batch, steps, seed)):
        batch = to_batch(take_tokens(corpus.tokens, rows))
        output = objectives(batch)
        optim.zero_grad()
        output.loss.backward()
        nn.utils.clip_grad_norm_(objectives.parameters(), 1.0)
        optim.step()
        schedule.step()
        if step >= steps - 100:
            for name, value in {**output.parts, **output.metrics}.items():
                last.setdefault(name, []).append(float(value))
    return {name: round(float(np.nanmean(values)), 4) for name, values in last.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", default="zheng_sorted,pbmc3k,kang_ctrl")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--objectives", default="{}", help="JSON: name -> fields of ObjectiveConfig")
    parser.add_argument("--encoder", default="{}", help="JSON: fields of EncoderConfig")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--table-lr", type=float, default=0.0)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--denoised", action="store_true", help="start from the denoised spectral table")
    parser.add_argument("--shares", default=",".join(f"{s:g}" for s in SHARES))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    shares = tuple(float(s) for s in options.shares.split(",") if s)
    size = published_vocabulary().size
    fields = {"d_model": 64, "n_layer": 1, "context_len": 256, **json.loads(options.encoder)}
    config = EncoderConfig(vocab_size=size, **fields)
    setting = {k: getattr(options, k) for k in ("steps", "batch", "lr", "table_lr", "weight_decay", "denoised")}
    for target in options.targets.split(","):
        corpus, adata = corpus_without(target), read_set(target)
        tokens, labels = tokens_of(adata), adata.obs["cell_type"].astype(str).to_numpy()
        counts = torch.from_numpy(np.bincount(corpus.tokens.ids.ravel(), minlength=size).astype(np.float32))
        for seed in map(int, options.seeds.split(",")):
            for name, given in {"start": None, **json.loads(options.objectives)}.items():
                encoder, table = new_encoder(corpus, config, seed, options.denoised)
                row = {
                    "target": target,
                    "seed": seed,
                    "objective": name,
                    "encoder": fields,
                    "denoised": options.denoised,
                }
                if given is not None:
                    started = time.perf_counter()
                    objectives = PretrainingObjectives(encoder, ObjectiveConfig(**{**OFF, **given}), spectral=table)
                    objectives.initialise_heads(gene_log_frequency(counts))
                    row |= {"config": given, **setting, "last": pretrain(objectives, corpus, options, seed)}
                    row["seconds"] = round(time.perf_counter() - started)
                row |= evaluate(embed(encoder, tokens), labels, shares)
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
