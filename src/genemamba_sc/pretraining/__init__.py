"""Pretrain on a corpus: one run from cells on disk to a folder of weights, on one process or many."""

from genemamba_sc.pretraining._config import SIZES, RunConfig, RunReport, encoder_of_size
from genemamba_sc.pretraining._plan import PretrainingConfig
from genemamba_sc.pretraining._run import RUN_SUFFIX, pretrain, run_folder
from genemamba_sc.pretraining._stop import OF_SCHEDULERS, StopRequest

__all__ = [
    "OF_SCHEDULERS",
    "RUN_SUFFIX",
    "SIZES",
    "PretrainingConfig",
    "RunConfig",
    "RunReport",
    "StopRequest",
    "encoder_of_size",
    "pretrain",
    "run_folder",
]
