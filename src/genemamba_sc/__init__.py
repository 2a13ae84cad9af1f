"""GeneMamba for single-cell RNA data: rank tokens, a bidirectional Mamba-2 encoder, scvi-tools style.

Names are loaded when they are first used (PEP 562), so that importing the package, or asking the
command line for its help, does not wait for torch and scvi-tools.
"""

from typing import TYPE_CHECKING

from genemamba_sc._lazy import lazily, moved
from genemamba_sc._version import __version__

if TYPE_CHECKING:
    from genemamba_sc import benchmark, pl, tl
    from genemamba_sc.checks import (
        CheckpointReport,
        ContaminationManifest,
        ContaminationReport,
        SelftestReport,
        check_contamination,
        checkpoint_report,
        contamination_manifest,
        selftest,
    )
    from genemamba_sc.confidence import LabelSets
    from genemamba_sc.corpus import TokenCorpus, build_corpus
    from genemamba_sc.data import (
        GeneAliases,
        GeneReport,
        GeneVocabulary,
        PathwaySet,
        RankTokenizer,
        check_genes,
        read_regulon_pairs,
    )
    from genemamba_sc.integration import IntegrationConfig
    from genemamba_sc.model import GeneMambaModel, PlanConfig
    from genemamba_sc.nn import EncoderConfig, ObjectiveConfig
    from genemamba_sc.ops import backend_info
    from genemamba_sc.pretraining import PretrainingConfig, RunConfig, RunReport, encoder_of_size, pretrain
    from genemamba_sc.weights import Pretrained, read_pretrained, write_pretrained

__all__ = [
    "CheckpointReport",
    "ContaminationManifest",
    "ContaminationReport",
    "EncoderConfig",
    "GeneAliases",
    "GeneMambaModel",
    "GeneReport",
    "GeneVocabulary",
    "IntegrationConfig",
    "LabelSets",
    "ObjectiveConfig",
    "PathwaySet",
    "PlanConfig",
    "Pretrained",
    "PretrainingConfig",
    "RankTokenizer",
    "RunConfig",
    "RunReport",
    "SelftestReport",
    "TokenCorpus",
    "__version__",
    "backend_info",
    "benchmark",
    "build_corpus",
    "check_contamination",
    "check_genes",
    "checkpoint_report",
    "contamination_manifest",
    "encoder_of_size",
    "pl",
    "pretrain",
    "read_pretrained",
    "read_regulon_pairs",
    "selftest",
    "tl",
    "write_pretrained",
]

_HOMES = {
    "CheckpointReport": "checks",
    "ContaminationManifest": "checks",
    "ContaminationReport": "checks",
    "EncoderConfig": "nn",
    "GeneAliases": "data",
    "GeneMambaModel": "model",
    "GeneReport": "data",
    "GeneVocabulary": "data",
    "IntegrationConfig": "integration",
    "LabelSets": "confidence",
    "ObjectiveConfig": "nn",
    "PathwaySet": "data",
    "PlanConfig": "model",
    "Pretrained": "weights",
    "PretrainingConfig": "pretraining",
    "RankTokenizer": "data",
    "RunConfig": "pretraining",
    "RunReport": "pretraining",
    "SelftestReport": "checks",
    "TokenCorpus": "corpus",
    "backend_info": "ops",
    "benchmark": "",
    "build_corpus": "corpus",
    "check_contamination": "checks",
    "check_genes": "data",
    "checkpoint_report": "checks",
    "contamination_manifest": "checks",
    "encoder_of_size": "pretraining",
    "pl": "",
    "pretrain": "pretraining",
    "read_pretrained": "weights",
    "read_regulon_pairs": "data",
    "selftest": "checks",
    "tl": "",
    "write_pretrained": "weights",
}
# Parts for those who build on them; they warn here until 0.2.
_MOVED = {
    "BiMambaEncoder": "nn",
    "CellSource": "data",
    "GeneMambaModule": "model",
    "GeneMambaPlan": "model",
    "Tokens": "data",
    "ssd_scan": "ops",
}

__getattr__ = moved(__name__, _MOVED, otherwise=lazily(__name__, _HOMES))


def __dir__() -> list[str]:
    return __all__
