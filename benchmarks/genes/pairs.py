"""Pairs of genes that are known to be related, and pairs of the same genes that are not.

Negatives are the positives with their second genes shuffled among genes of like expression (20 bins of the mean in the
cells at hand). So both kinds of pairs have the same first genes, second genes of like expression, and each gene is
about as often in either: a score cannot win by knowing which genes are well studied, or high.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sets import data_folder

import genemamba_sc as gm

REGULONS = {"collectri": "collectri_human.csv.gz", "trrust": "trrust_human.tsv"}
MOST_PAIRS, PAIRS_PER_PATHWAY, BINS, ROUNDS = 20_000, 100, 20, 60


@dataclass(frozen=True, eq=False)
class Task:
    """Pairs by the numbers of their genes, shape (m, 2), and which are related, shape (m,)."""

    name: str
    pairs: np.ndarray
    related: np.ndarray


@dataclass(frozen=True, eq=False)
class Genes:
    """Genes that are asked about: their token ids, and their mean expression."""

    tokens: np.ndarray
    mean: np.ndarray
    vocabulary: gm.GeneVocabulary

    def numbers(self, tokens: np.ndarray) -> np.ndarray:
        """Numbers of the genes of token pairs, without pairs of other genes."""
        place = np.full(self.vocabulary.size, -1)
        place[self.tokens] = np.arange(len(self.tokens))
        found = place[tokens].astype(np.int64).reshape(-1, 2)
        return found[(found >= 0).all(axis=1)]

    def key(self, pairs: np.ndarray) -> np.ndarray:
        """One number for each pair, whatever its order."""
        return pairs.min(axis=1) * len(self.tokens) + pairs.max(axis=1)


def aliases() -> gm.GeneAliases:
    return gm.GeneAliases.from_tsv(data_folder() / "genes" / "hgnc_protein_coding.tsv.gz")


def tasks(genes: Genes, seed: int) -> list[Task]:
    """Regulons, pathways and the pairs of Gene2vec."""
    folder, table = data_folder() / "genes", aliases()
    found = []
    for name, file in REGULONS.items():
        pairs = genes.numbers(gm.read_regulon_pairs(folder / file, genes.vocabulary, aliases=table))
        found.append(matched(name, genes, pairs, genes.key(pairs), seed))
    pathways = gm.PathwaySet.from_gmt(folder / "reactome_2016.gmt", genes.vocabulary, aliases=table, min_genes=5)
    known = genes.key(genes.numbers(pathways.pairs()))
    found.append(matched("reactome", genes, pathway_pairs(genes, pathways, seed), known, seed))
    return [*found, gene2vec(genes)]


def matched(name: str, genes: Genes, positives: np.ndarray, known: np.ndarray, seed: int) -> Task:
    """Positives, and as many negatives, or nearly, that are not among the known pairs."""
    rng = np.random.default_rng(seed)
    positives = positives[rng.permutation(len(positives))[:MOST_PAIRS]]
    bins = np.argsort(np.argsort(genes.mean)) * BINS // len(genes.mean)
    negatives, wrong = positives.copy(), np.ones(len(positives), dtype=bool)
    for _ in range(ROUNDS):
        # Pairs that are wrong swap partners with as many others, which may be right by now.
        moved = np.union1d(np.flatnonzero(wrong), rng.integers(0, len(positives), wrong.sum()))
        for number in np.unique(bins[negatives[moved, 1]]):
            rows = moved[bins[negatives[moved, 1]] == number]
            negatives[rows, 1] = negatives[rng.permutation(rows), 1]
        wrong = np.isin(genes.key(negatives), known) | (negatives[:, 0] == negatives[:, 1])
        if not wrong.any():
            break
    pairs = np.concatenate([positives, negatives[~wrong]])
    return Task(name, pairs, np.arange(len(pairs)) < len(positives))


def pathway_pairs(genes: Genes, pathways: gm.PathwaySet, seed: int) -> np.ndarray:
    """At most 100 pairs of each pathway, so that large ones do not drown others; each once, in random order."""
    rng, drawn = np.random.default_rng(seed), []
    for members in pathways.members:
        first, second = np.triu_indices(len(members), 1)
        pairs = genes.numbers(np.stack([members[first], members[second]], axis=1))
        drawn.append(pairs[rng.permutation(len(pairs))[:PAIRS_PER_PATHWAY]])
    pairs = np.concatenate(drawn)
    pairs = pairs[np.unique(genes.key(pairs), return_index=True)[1]]
    turned = rng.random(len(pairs)) < 0.5
    pairs[turned] = pairs[turned][:, ::-1]
    return pairs


def gene2vec(genes: Genes) -> Task:
    """The labelled pairs of the published evaluation, as they are: their negatives are not matched for anything."""
    table = pd.read_csv(data_folder() / "published" / "gene2vec_pairs.csv.gz")
    asked = set(genes.tokens.tolist())
    symbols = {s: token for token, s in enumerate(genes.vocabulary.symbols, start=2) if s and token in asked}
    known = table[table["Gene1"].isin(symbols) & table["Gene2"].isin(symbols)]
    pairs = np.stack([known["Gene1"].map(symbols), known["Gene2"].map(symbols)], axis=1).astype(np.int64)
    return Task("gene2vec", genes.numbers(pairs), known["Label"].to_numpy() == 1)
