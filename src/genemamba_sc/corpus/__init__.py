"""Build and read corpora larger than memory: cells on disk -> token shards -> batches, on any number of machines.

Names are loaded when they are first used: the processes that make tokens need neither torch nor Lightning.
"""

from typing import TYPE_CHECKING

from genemamba_sc._lazy import lazily

if TYPE_CHECKING:
    from genemamba_sc.corpus._build import build_corpus
    from genemamba_sc.corpus._corpus import TokenCorpus
    from genemamba_sc.corpus._loading import CorpusDataModule
    from genemamba_sc.corpus._sampler import BatchPlan

__all__ = ["BatchPlan", "CorpusDataModule", "TokenCorpus", "build_corpus"]

__getattr__ = lazily(
    __name__,
    {
        "BatchPlan": "_sampler",
        "CorpusDataModule": "_loading",
        "TokenCorpus": "_corpus",
        "build_corpus": "_build",
    },
)
