"""Define what a method hands back, and what every method gets."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Options:
    """Hold arguments of the public API that a run asks for; empty means the package's own defaults.

    Parameters
    ----------
    model
        Arguments of :class:`genemamba_sc.GeneMambaModel`.
    train
        Arguments of :meth:`genemamba_sc.GeneMambaModel.train`.
    """

    model: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Outcome:
    """Hold predicted types of the test cells, what was used to get them, and embeddings where there are some.

    Parameters
    ----------
    predicted
        Types, shape ``(n_test,)``.
    params
        Number of fitted parameters.
    settings
        What the method used: penalties it chose, widths, arguments.
    seconds
        Seconds of fit and prediction.
    train_embedding, test_embedding
        Embeddings of both parts, where the method makes some.
    """

    predicted: np.ndarray
    params: int
    settings: dict[str, Any]
    seconds: float
    train_embedding: np.ndarray | None = None
    test_embedding: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Embedding:
    """Hold an embedding of all cells, what was used to get it, and the seconds it took.

    Parameters
    ----------
    values
        Shape ``(n_cells, width)``.
    settings
        What the method used.
    seconds
        Seconds of the fit, and of whatever it starts from.
    """

    values: np.ndarray
    settings: dict[str, Any]
    seconds: float


def clock() -> Callable[[], float]:
    """Return a function that tells the seconds since now."""
    start = time.perf_counter()
    return lambda: round(time.perf_counter() - start, 2)
