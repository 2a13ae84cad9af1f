"""Compare with baselines on cells that no method has seen."""

from typing import TYPE_CHECKING

from genemamba_sc._lazy import lazily

if TYPE_CHECKING:
    from genemamba_sc.benchmark import published
    from genemamba_sc.benchmark._demo import demo_cells
    from genemamba_sc.benchmark._harness import HarnessModel

__all__ = ["HarnessModel", "demo_cells", "published"]

__getattr__ = lazily(__name__, {"HarnessModel": "_harness", "demo_cells": "_demo", "published": ""})
