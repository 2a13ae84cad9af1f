"""Answer scvi-tools' methods that need registered cells, or that this model has no counterpart for."""

from typing import Any, NoReturn

import numpy as np
from anndata import AnnData
from scvi import REGISTRY_KEYS
from scvi.data import AnnDataManager
from scvi.model.base import BaseModelClass

from genemamba_sc.model.registration._setup import registered_codes


class InheritedMixin(BaseModelClass):
    """Add to :class:`genemamba_sc.GeneMambaModel` what scvi-tools would answer with errors that name no way out."""

    def view_registry(self, hide_state_registries: bool = False) -> None:
        """Print how the AnnData of the model is registered.

        Parameters
        ----------
        hide_state_registries
            Whether genes, cell types and batches are left out.

        Raises
        ------
        ValueError
            If the model holds no AnnData.
        """
        self._own_manager("view_registry()").view_registry(hide_state_registries=hide_state_registries)

    def view_anndata_setup(self, adata: AnnData | None = None, hide_state_registries: bool = False) -> None:
        """Print how an AnnData is registered.

        Parameters
        ----------
        adata
            A registered AnnData; ``None`` takes that of the model.
        hide_state_registries
            Whether genes, cell types and batches are left out.

        Raises
        ------
        ValueError
            If there is none, or it is not registered with this model.
        """
        if adata is None:
            self._own_manager("view_anndata_setup()")
        super().view_anndata_setup(adata, hide_state_registries=hide_state_registries)

    def get_from_registry(self, adata: AnnData, registry_key: str) -> np.ndarray:
        """Return registered values of cells, such as the codes of their ``"labels"``.

        Parameters
        ----------
        adata
            An AnnData that is registered with this model.
        registry_key
            ``"X"``, ``"labels"`` or ``"batch"``.

        Returns
        -------
        The values, one row per cell.

        Raises
        ------
        ValueError
            If the AnnData is not registered with this model, or its column has changed since.
        """
        if self.get_anndata_manager(adata) is None:
            raise ValueError(
                "get_from_registry() reads an AnnData that is registered with this model. Got another one. Attach it: "
                "model.adata = adata, or load the model with it."
            )
        manager = self.get_anndata_manager(adata)
        name = {REGISTRY_KEYS.LABELS_KEY: "labels", REGISTRY_KEYS.BATCH_KEY: "batch"}.get(registry_key)
        if name is None or manager is None:
            return super().get_from_registry(adata, registry_key)
        return registered_codes(manager)[name][:, None]

    def deregister_manager(self, adata: AnnData | None = None) -> None:
        """Forget the registration of an AnnData.

        Parameters
        ----------
        adata
            A registered AnnData; ``None`` takes all but that of the model.

        Raises
        ------
        ValueError
            If ``None`` is given to a model without an AnnData.
        """
        if adata is None:
            self._own_manager("deregister_manager() without adata=")
        super().deregister_manager(adata)

    def transfer_fields(self, adata: AnnData, **kwargs: Any) -> AnnDataManager:
        """Register another AnnData as that of the model is.

        Parameters
        ----------
        adata
            The cells.
        **kwargs
            As in :meth:`scvi.data.AnnDataManager.transfer_fields`.

        Raises
        ------
        ValueError
            If the model holds no AnnData.
        """
        return self._own_manager("transfer_fields()").transfer_fields(adata, **kwargs)

    def update_setup_method_args(self, setup_method_args: dict[str, Any]) -> NoReturn:
        """Refuse to change the setup of a model, which its types, batches and genes come from.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError(
            f"The setup of a model is not changed. Got {setup_method_args!r}. Call GeneMambaModel.setup_anndata with "
            "these arguments and build another model from the AnnData."
        )

    def get_normalized_expression(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse what only models of counts have.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError(
            "GeneMambaModel reads the ranks of genes and models no counts, so there is no get_normalized_expression(). "
            "Normalise with scanpy.pp.normalize_total, or see gm.tl.reconstruct_ranks for the ranks that it predicts."
        )

    def differential_abundance(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse what only models of samples have.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError(
            "GeneMambaModel compares no samples, so there is no differential_abundance(). Annotate the cells, count "
            "types with pandas.crosstab(adata.obs[SAMPLE], adata.obs['genemamba_celltype']), and compare the counts "
            "with a package for compositions, such as pertpy."
        )

    def _own_manager(self, asked: str) -> AnnDataManager:
        if self.adata_manager is None:
            raise ValueError(
                f"{asked} needs the AnnData of the model. This model holds none. Set one: model.adata = adata, or load "
                "the model with it. How it was set up is in model.registry."
            )
        return self.adata_manager
