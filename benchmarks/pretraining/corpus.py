"""Tokens of several data sets, one set left out together with all that share its cells."""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import anndata as ad
import numpy as np

from genemamba_sc import GeneVocabulary
from genemamba_sc.data import Tokens, query_source

SETS = (
    "pbmc3k", "zheng_sorted", "kang_ctrl", "immune_3studies", "cell_lines", "onek1k", "pbmc_chemistries", "pbmc_frozen",
    "pbmc_lanes", "dendritic_lognorm",
)  # fmt: skip
# immune_3studies is made of cells of the three others.
SHARED = dict.fromkeys(("pbmc3k", "zheng_sorted", "kang_ctrl"), ("immune_3studies",))


@dataclass(frozen=True, eq=False)
class Corpus:
    """Tokens of all cells, and which set each is from."""

    tokens: Tokens
    origin: np.ndarray


def data_folder() -> Path:
    return Path(os.environ.get("GENEMAMBA_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def read_set(name: str) -> ad.AnnData:
    return ad.read_h5ad(data_folder() / "cells" / f"{name}.h5ad")


@cache
def published_vocabulary() -> GeneVocabulary:
    return GeneVocabulary.from_tsv(data_folder() / "genes" / "published_vocabulary.tsv.gz")


def tokens_of(adata: ad.AnnData, max_len: int = 2048) -> Tokens:
    return query_source(adata, published_vocabulary(), max_len, {}).tokens(np.arange(adata.n_obs))


def stacked(parts: list[Tokens]) -> Tokens:
    """Tokens of several sets, one below the other, padded to the widest."""
    width = max(part.ids.shape[1] for part in parts)
    pads = [[(0, 0), (0, width - part.ids.shape[1])] for part in parts]
    ids = [np.pad(part.ids, pad, constant_values=1) for part, pad in zip(parts, pads)]
    values = [np.pad(part.values, pad) for part, pad in zip(parts, pads)]
    return Tokens(np.concatenate(ids), np.concatenate(values), np.concatenate([part.lengths for part in parts]))


def corpus_without(target: str | None, max_len: int = 2048) -> Corpus:
    """All sets but ``target`` and those that share its cells; for ``None`` all but immune_3studies."""
    left_out = {"immune_3studies"} if target is None else {target, *SHARED.get(target, ())}
    parts = [tokens_of(read_set(name), max_len) for name in SETS if name not in left_out]
    return Corpus(stacked(parts), np.repeat(np.arange(len(parts)), [len(p.lengths) for p in parts]))
