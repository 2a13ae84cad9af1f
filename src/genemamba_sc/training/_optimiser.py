"""What the optimisers of all trainings share."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class WarmupCosine:
    """Factor of the learning rate at a step: linear warm-up, then a cosine to zero.

    Parameters
    ----------
    n_steps
        Steps in all.
    warmup
        Share of them that warms up.
    """

    n_steps: int
    warmup: float

    def __call__(self, step: int) -> float:
        rising = max(1, round(self.n_steps * self.warmup))
        if step < rising:
            return (step + 1) / rising
        progress = (step - rising) / max(1, self.n_steps - rising)
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
