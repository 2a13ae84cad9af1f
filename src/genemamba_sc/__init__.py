"""GeneMamba for single-cell RNA data: rank tokens, a bidirectional Mamba-2 encoder, scvi-tools style.

Names are loaded when they are first used (PEP 562), so that importing the package, or asking the
command line for its help, does not wait for torch and scvi-tools.
"""

from importlib import import_module as _import_module
from typing import Any as _Any

__version__ = "0.1.0"

_HOME = {
    "BiMambaEncoder": "nn",
    "CellSource": "data",
    "CheckpointReport": "checks",
    "ContaminationReport": "checks",
    "EncoderConfig": "nn",
    "GeneAliases": "data",
    "GeneMambaModel": "model",
    "GeneMambaModule": "model",
    "GeneMambaPlan": "model",
    "GeneReport": "data",
    "GeneVocabulary": "data",
    "PathwaySet": "data",
    "Pretrained": "weights",
    "RankTokenizer": "data",
    "SelftestReport": "checks",
    "Tokens": "data",
    "backend_info": "ops",
    "check_contamination": "checks",
    "check_genes": "data",
    "checkpoint_report": "checks",
    "read_pretrained": "weights",
    "read_regulon_pairs": "data",
    "selftest": "checks",
    "ssd_scan": "ops",
    "write_pretrained": "weights",
}

__all__ = sorted([*_HOME, "__version__"])


def __getattr__(name: str) -> _Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
