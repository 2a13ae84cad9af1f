"""Make `mini`: vocabulary, corpus, pretraining and weights in one go; or the same with one set left out.

    python benchmarks/pretraining/mini.py --out src/genemamba_sc/weights/mini
    python benchmarks/pretraining/mini.py --without zheng_sorted --out runs/without_zheng_sorted

The work lies beside OUT, in OUT + ".work", and is taken up there if it was interrupted.
"""

import argparse
import json
import logging
from pathlib import Path

import numpy as np
from corpus import SETS, SHARED, data_folder, published_vocabulary, read_set, tokens_of

from genemamba_sc import GeneVocabulary
from genemamba_sc.corpus import TokenCorpus, build_corpus
from genemamba_sc.nn import ObjectiveConfig
from genemamba_sc.pretraining import PretrainingConfig, RunConfig, encoder_of_size, pretrain

# A gene in fewer cells has no place in the table worth its bytes.
LEAST_CELLS = 10
LEAST_GENES = 20
OBJECTIVES = {
    "mgm_weight": 0.0,
    "decode_weight": 0.1,
    "denoise_weight": 1.0,
    "contrast_weight": 0.0,
    "spectral_weight": 0.0,
    "pathway_weight": 0.0,
    "mask_rate": 0.3,
}


def sets_without(target: str | None) -> list[str]:
    """All sets but the target and those with cells of it; duplicates are left to the corpus."""
    left_out = () if target is None else (target, *SHARED.get(target, ()))
    return [name for name in SETS if name not in left_out]


def vocabulary_of(names: list[str]) -> GeneVocabulary:
    """The published genes that occur in at least ten cells of the sets, with the published medians."""
    published = published_vocabulary()
    cells = np.zeros(published.size, dtype=np.int64)
    for name in names:
        tokens = tokens_of(read_set(name), max_len=8192)
        real = np.arange(tokens.ids.shape[1]) < tokens.lengths[:, None]
        cells += np.bincount(tokens.ids[real], minlength=published.size)
    kept = np.flatnonzero(cells >= LEAST_CELLS) - 2
    kept = kept[(kept >= 0) & (kept < published.n_genes)]
    return GeneVocabulary(
        gene_ids=tuple(published.gene_ids[i] for i in kept),
        symbols=tuple(published.symbols[i] for i in kept),
        medians=published.medians[kept],
        species=published.species,
    )


def corpus_of(names: list[str], folder: Path) -> TokenCorpus:
    if not (folder / "vocabulary.tsv.gz").exists():
        folder.mkdir(parents=True, exist_ok=True)
        vocabulary_of(names).to_tsv(folder / "vocabulary.tsv.gz")
    files = [data_folder() / "cells" / f"{name}.h5ad" for name in names]
    vocabulary = GeneVocabulary.from_tsv(folder / "vocabulary.tsv.gz")
    build_corpus(files, folder / "corpus", vocabulary=vocabulary, min_genes=LEAST_GENES)
    return TokenCorpus.open(folder / "corpus")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--without", choices=SETS)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--objective", default="{}", help="JSON: fields of ObjectiveConfig to change")
    parser.add_argument("--token-budget", type=int, default=65_536)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    corpus = corpus_of(sets_without(options.without), Path(f"{options.out}.work"))
    print(f"{corpus.n_cells} cells, {corpus.vocabulary.n_genes} genes", flush=True)
    report = pretrain(
        corpus,
        options.out,
        encoder_of_size("mini", corpus.vocabulary.size),
        ObjectiveConfig(**{**OBJECTIVES, **json.loads(options.objective)}),
        PretrainingConfig(n_steps=options.steps, lr=options.lr, seed=options.seed),
        RunConfig(token_budget=options.token_budget, accelerator="cpu", n_validation=0, log_every=50),
    )
    print(report)


if __name__ == "__main__":
    main()
