"""Corpora past memory: cells on disk -> token shards -> batches for Lightning, on any number of machines."""

from genemamba_sc.corpus._build import build_corpus
from genemamba_sc.corpus._corpus import TokenCorpus
from genemamba_sc.corpus._loading import CorpusDataModule
from genemamba_sc.corpus._sampler import BatchPlan

__all__ = [
    "BatchPlan",
    "CorpusDataModule",
    "TokenCorpus",
    "build_corpus",
]
