"""Integrate batches on the embedding of an encoder: partners, axes, offsets; numpy and scikit-learn."""

from genemamba_sc.integration._fit import CannotIntegrateError, fit_integration
from genemamba_sc.integration._integration import Integration, IntegrationConfig
from genemamba_sc.integration._reference import FEWEST_CELLS

__all__ = ["FEWEST_CELLS", "CannotIntegrateError", "Integration", "IntegrationConfig", "fit_integration"]
