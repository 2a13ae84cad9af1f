"""What a method hands back, and what every method gets."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Options:
    """Arguments of the public API that a run asks for; empty means the package's own defaults."""

    model: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Outcome:
    """Predicted types of the test cells, what was used to get them, and embeddings where there are some."""

    predicted: np.ndarray
    params: int
    settings: dict[str, Any]
    seconds: float
    train_embedding: np.ndarray | None = None
    test_embedding: np.ndarray | None = None
