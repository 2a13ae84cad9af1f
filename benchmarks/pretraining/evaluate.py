"""Zero-shot and few-label quality of checkpoints on the set that each was pretrained without.

    python benchmarks/pretraining/evaluate.py --checkpoints runs/without_{target} \\
        --targets zheng_sorted,pbmc3k,kang_ctrl --out benchmarks/pretraining/results/pretraining.jsonl
    python benchmarks/pretraining/evaluate.py --table benchmarks/pretraining/results/pretraining.jsonl

Beside a checkpoint: what it started from (`start_denoised`: the same encoder with the denoised spectral table, before
any step), the plain spectral table (`start`, and `start_bag` without its layer), an encoder as drawn at random, and
what all cells of the target itself tell without labels: 50 or 20 components of 2,000 variable genes, scaled as scanpy's
tutorials do (`hvg_pca`) or not, and the 16 leading components of the target's own spectral table (`own_spectral`).
Logistic regression on log values of all genes (`lr`) sees labelled cells only.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import scanpy as sc
import torch
from command_line import parse
from corpus import read_set
from objectives import embed
from probes import knn_accuracy, probe
from sklearn.metrics import silhouette_score

from genemamba_sc import read_pretrained
from genemamba_sc.corpus import TokenCorpus
from genemamba_sc.data import query_source
from genemamba_sc.nn import BiMambaEncoder, EncoderConfig
from genemamba_sc.training import denoised_gene_table, spectral_gene_table

SHARES = (0.01, 0.02, 0.05, 0.1, 1.0)
START_CELLS = 20_000
OWN_COMPONENTS = 16


def spectral_encoder(config: EncoderConfig, corpus: TokenCorpus, seed: int, denoised: bool = False) -> BiMambaEncoder:
    """The encoder as a run starts it, on a sample of the same corpus."""
    torch.manual_seed(seed)
    encoder = BiMambaEncoder(config)
    n = min(START_CELLS, corpus.n_cells)
    cells = np.sort(np.random.default_rng(seed).choice(corpus.n_cells, n, replace=False))
    tokens = corpus.tokens(cells)
    table = spectral_gene_table(tokens, config.vocab_size, config.d_model, seed=seed)
    if denoised:
        table = denoised_gene_table(tokens, table, seed=seed)
    with torch.no_grad():
        encoder.embeddings.weight.copy_(torch.from_numpy(table))
    return encoder


def embeddings(folder: Path, target: str, seed: int) -> dict[str, np.ndarray]:
    """Embedding of every method that needs no label."""
    adata, checkpoint = read_set(target), read_pretrained(folder)
    tokens = query_source(adata, checkpoint.vocabulary, checkpoint.max_len, {}).tokens(np.arange(adata.n_obs))
    config = checkpoint.encoder_config
    encoder = BiMambaEncoder(config)
    encoder.load_state_dict(checkpoint.encoder)
    found = {"mini": embed(encoder, tokens)}
    corpus = TokenCorpus.open(Path(f"{folder}.work") / "corpus")
    found["start_denoised"] = embed(spectral_encoder(config, corpus, seed, denoised=True), tokens)
    found["start"] = embed(spectral_encoder(config, corpus, seed), tokens)
    found["start_bag"] = embed(spectral_encoder(replace(config, n_layer=0), corpus, seed), tokens)
    torch.manual_seed(seed)
    found["random"] = embed(BiMambaEncoder(config), tokens)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    n_genes = min(2000, adata.n_vars)
    sc.pp.highly_variable_genes(adata, n_top_genes=n_genes)
    variable = adata[:, adata.var["highly_variable"]].copy()
    scaled = sc.pp.scale(variable, max_value=10, copy=True)
    for name, values in (("hvg_pca", scaled), ("hvg_pca_unscaled", variable)):
        components = sc.pp.pca(values, n_comps=50, copy=True, random_state=seed).obsm["X_pca"]
        found |= {name: components, f"{name}_20": components[:, :20]}
    own = spectral_gene_table(tokens, config.vocab_size, OWN_COMPONENTS, seed=seed)
    bag = BiMambaEncoder(replace(config, n_layer=0, d_model=OWN_COMPONENTS, headdim=OWN_COMPONENTS))
    with torch.no_grad():
        bag.embeddings.weight.copy_(torch.from_numpy(own))
    found["own_spectral"] = embed(bag, tokens)
    return found


def rows_of(folder: Path, target: str, seed: int) -> list[dict[str, object]]:
    adata = read_set(target)
    labels = adata.obs["cell_type"].astype(str).to_numpy()
    rows: list[dict[str, object]] = []
    for name, z in embeddings(folder, target, seed).items():
        row: dict[str, object] = {"target": target, "seed": seed, "method": name}
        row["knn"] = knn_accuracy(z, labels)
        row["asw"] = (silhouette_score(z, labels, sample_size=5000, random_state=0) + 1) / 2
        for share in SHARES:
            row[f"probe_{share:g}"], row[f"probe_f1_{share:g}"] = probe(z, labels, share)
        rows.append(row)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    row = {"target": target, "seed": seed, "method": "lr"}
    for share in SHARES[:-1]:
        row[f"probe_{share:g}"], row[f"probe_f1_{share:g}"] = probe(adata.X, labels, share)
    return [*rows, row]


def table(path: Path) -> str:
    """Means over seeds; probes as accuracy / macro-F1."""
    frame = pd.DataFrame([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
    mean = frame.groupby(["target", "method"], sort=False).mean(numeric_only=True)
    shares = [f"{share:g}" for share in SHARES]
    head = ["target", "method", "kNN", "ASW", *(f"{100 * float(s):g} % of the labels" for s in shares)]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for (target, method), row in mean.iterrows():
        single = [f"{row[name]:.3f}" if np.isfinite(row[name]) else "" for name in ("knn", "asw")]
        pairs = [(row[f"probe_{s}"], row[f"probe_f1_{s}"]) for s in shares]
        both = [f"{a:.3f} / {f:.3f}" if np.isfinite(a) else "" for a, f in pairs]
        lines.append("| " + " | ".join([target, method, *single, *both]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", help="folder of each checkpoint, with {target} in it")
    parser.add_argument("--targets", default="zheng_sorted,pbmc3k,kang_ctrl")
    parser.add_argument("--seed", type=int, default=0, help="of the start; the probes have their own")
    options = parse(parser, table, ("checkpoints",))
    for target in options.targets.split(","):
        for row in rows_of(Path(options.checkpoints.format(target=target)), target, options.seed):
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
