"""Provide the scvi-tools plugin: the model that users hold, its module, its training plan."""

from genemamba_sc.model._model import GeneMambaModel
from genemamba_sc.model._module import GeneMambaModule
from genemamba_sc.model.fitting._plan import GeneMambaPlan, PlanConfig

__all__ = ["GeneMambaModel", "GeneMambaModule", "GeneMambaPlan", "PlanConfig"]
