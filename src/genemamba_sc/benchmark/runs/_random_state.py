"""Leave what is drawn at random after a benchmark as if it had not run."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

# Set by scvi-tools and Lightning where a seed is.
_SEED_VARIABLES = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS", "XLA_FLAGS")


@contextmanager
def keeping_random_state() -> Iterator[None]:
    """Put back ``scvi.settings.seed`` and the states of random, numpy and torch, also after an error."""
    import scvi
    import torch

    seed, of_random, of_numpy = scvi.settings.seed, random.getstate(), np.random.get_state()
    of_torch = torch.get_rng_state()
    of_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    variables = {name: os.environ.get(name) for name in _SEED_VARIABLES}
    try:
        yield
    finally:
        scvi.settings.seed = seed  # this draws all states anew, so it comes first
        random.setstate(of_random)
        np.random.set_state(of_numpy)
        torch.set_rng_state(of_torch)
        if of_gpus is not None:
            torch.cuda.set_rng_state_all(of_gpus)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
        for name, text in variables.items():
            os.environ.pop(name, None) if text is None else os.environ.update({name: text})
