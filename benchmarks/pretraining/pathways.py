"""What the pathway loss does: pretrain with and without it, rank pairs of genes, and ask a set that was left out.

    python benchmarks/pretraining/pathways.py --seeds 0,1,2 --out benchmarks/pretraining/results/pathways.jsonl

Pairs that share a held-out Reactome pathway, and pairs of a factor and its target (TRRUST, CollecTRI), against the same
genes shuffled; AUROC of the cosine of their rows in the gene table. A weight of null: the spectral start.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from corpus import corpus_without, data_folder, published_vocabulary, read_set, tokens_of
from objectives import OFF, embed, new_encoder, pretrain
from probes import knn_accuracy, probe
from sklearn.metrics import roc_auc_score

from genemamba_sc import GeneAliases, PathwaySet, read_regulon_pairs
from genemamba_sc.nn import EncoderConfig, ObjectiveConfig, PretrainingObjectives, gene_log_frequency

PAIRS = 20_000
REGULONS = {"trrust": "trrust_human.tsv", "collectri": "collectri_human.csv.gz"}


def auroc(table: np.ndarray, pairs: np.ndarray, related: np.ndarray) -> float:
    """Of the cosine between the rows of the pairs; genes without a row are left out."""
    length = np.linalg.norm(table, axis=1)
    known = (length[pairs] > 1e-6).all(axis=1)
    first, second = table[pairs[known, 0]], table[pairs[known, 1]]
    cosine = (first * second).sum(1) / (length[pairs[known]].prod(axis=1))
    return float(roc_auc_score(related[known], cosine))


def shuffled(pairs: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The pairs, and as many with the second genes shuffled that are no pairs themselves."""
    rng = np.random.default_rng(seed)
    wrong = np.stack([pairs[:, 0], rng.permutation(pairs[:, 1])], axis=1)
    real = {tuple(pair) for pair in np.sort(pairs, axis=1).tolist()}
    wrong = np.array([pair for pair in wrong.tolist() if pair[0] != pair[1] and tuple(sorted(pair)) not in real])
    return np.concatenate([pairs, wrong]), np.arange(len(pairs) + len(wrong)) < len(pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="zheng_sorted")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--weights", default="0,0.1,1")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--table-lr", type=float, default=3e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    vocabulary = published_vocabulary()
    genes = data_folder() / "genes"
    aliases = GeneAliases.from_tsv(genes / "hgnc_protein_coding.tsv.gz")
    split = PathwaySet.from_gmt(genes / "reactome_2016.gmt", vocabulary, aliases=aliases).split(0.2, seed=0)
    regulons = {name: read_regulon_pairs(genes / file, vocabulary, aliases=aliases) for name, file in REGULONS.items()}
    corpus, adata = corpus_without(options.target), read_set(options.target)
    tokens, labels = tokens_of(adata), adata.obs["cell_type"].astype(str).to_numpy()
    counts = np.bincount(corpus.tokens.ids.ravel(), minlength=vocabulary.size).astype(np.float32)
    config = EncoderConfig(vocab_size=vocabulary.size, d_model=64, n_layer=1, context_len=256)
    for seed in map(int, options.seeds.split(",")):
        pairs = {"pathways": split.sample_pairs(PAIRS, seed=seed)}
        pairs |= {name: shuffled(found, seed) for name, found in regulons.items()}
        for weight in (None, *map(float, options.weights.split(","))):
            encoder, _ = new_encoder(corpus, config, seed)
            row: dict[str, object] = {"target": options.target, "seed": seed, "pathway_weight": weight}
            if weight is not None:
                chosen = ObjectiveConfig(**{**OFF, "decode_weight": 1.0, "pathway_weight": weight})
                objectives = PretrainingObjectives(encoder, chosen, pathways=split.train.index())
                objectives.initialise_heads(gene_log_frequency(torch.from_numpy(counts)))
                row["last"] = pretrain(objectives, corpus, options, seed)
            table = encoder.embeddings.weight.detach().numpy()
            row |= {f"auroc_{name}": round(auroc(table, *given), 4) for name, given in pairs.items()}
            z = embed(encoder, tokens)
            row |= {
                "knn": knn_accuracy(z, labels),
                "probe_0.01": probe(z, labels, 0.01),
                "probe_1": probe(z, labels, 1.0),
            }
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
