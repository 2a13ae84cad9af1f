"""Store models under scvi-tools' names: save, load, query data, registries, setup arguments."""

import copy
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from anndata import AnnData
from scvi.data import AnnDataManager
from scvi.model.base import BaseModelClass

from genemamba_sc._constants import VOCABULARY_KEY
from genemamba_sc.data import GeneAliases, GeneVocabulary
from genemamba_sc.model.annotation._shared_genes import untrained_on_genes
from genemamba_sc.model.registration._attaching import attach, take_to
from genemamba_sc.model.registration._trained_cells import LearnedCells, warn_if_others
from genemamba_sc.model.storage._persistence import content_of, device_of, load_model, model_of, save_model
from genemamba_sc.weights._saved_model import read_model

if TYPE_CHECKING:  # the type checks under pytest do not know Self
    from typing import Self

Reference = str | os.PathLike[str] | BaseModelClass


class StorageMixin(BaseModelClass):
    """Add to :class:`genemamba_sc.GeneMambaModel` how it is saved, and taken to other cells."""

    gene_aliases: GeneAliases | None
    _vocabulary: GeneVocabulary
    # Digest of the cells that the split is of; whether these are held, under whatever names; what trainings learned
    # from; whether a query is held.
    _split_names: str | None = None
    _keeps_cells: bool = False
    _learned: tuple[LearnedCells, ...] = ()
    _holds_query: bool = False

    @BaseModelClass.adata.setter
    def adata(self, adata: AnnData) -> None:
        """Take the model to other cells, as :meth:`load_query_data` does, but this model itself.

        Columns that the cells lack are left out, with a warning. What is known of the training stays; its row numbers
        (``train_indices``) are read for these cells only if they are those of the training, by
        their names, or by tokens of a few where AnnData made the names up.
        """
        take_to(self, adata)

    def save(
        self, dir_path: str | Path, overwrite: bool = False, save_anndata: bool = False, prefix: str | None = None
    ) -> None:
        """Write the model to a folder: safetensors, JSON and TSV, whole or not at all.

        Parameters
        ----------
        dir_path
            Folder to write.
        overwrite
            Whether an existing model is replaced.
        save_anndata
            Whether the registered AnnData is saved beside the model.
        prefix
            Text before the name of every file, so that several models share a folder, which may exist. Each file is
            then written whole by itself, and a model that was half replaced is refused when it is loaded.

        Raises
        ------
        FileExistsError
            If the folder, or a model of that prefix in it, exists and ``overwrite`` is off.
        ValueError
            If a weight is not a finite number.
        OSError
            If the folder cannot be written; what stood there stays.
        """
        save_model(self, dir_path, overwrite, save_anndata, prefix)

    @classmethod
    def load(
        cls,
        dir_path: str | Path,
        adata: AnnData | Literal[False] | None = None,
        accelerator: str = "auto",
        device: int | str = "auto",
        prefix: str | None = None,
    ) -> "Self":
        """Read a model that :meth:`save` wrote.

        Parameters
        ----------
        dir_path
            Folder of the model.
        adata
            AnnData to attach; ``None`` attaches the one saved with the model, if any; ``False`` attaches none.
        accelerator, device
            Where the weights are placed, as in scvi-tools.
        prefix
            Text before the names of its files, as given to :meth:`save`.

        Raises
        ------
        FileNotFoundError
            If the folder or a file of it is missing.
        ValueError
            If a file is damaged or belongs to another model.

        Warns
        -----
        UserWarning
            If ``adata`` has as many cells as trained the model, with other names or in another order.
        """
        model = load_model(cls, dir_path, adata, accelerator, device, prefix)
        warn_if_others(model)
        return model

    @classmethod
    def load_query_data(
        cls,
        adata: AnnData,
        reference_model: Reference,
        accelerator: str = "auto",
        device: int | str = "auto",
    ) -> "Self":
        """Take a reference model to other cells; the reference stays as it is.

        Parameters
        ----------
        adata
            The cells; neither setup nor the genes of the reference are needed. Batches and labels that the reference
            knows are registered, so that :meth:`train` can continue with them; others are left out, with a warning.
        reference_model
            A model, or the folder of a saved one.
        accelerator, device
            Where the weights are placed, as in scvi-tools.

        Returns
        -------
        A separate model with these cells.

        Raises
        ------
        TypeError
            If ``reference_model`` is neither a model of this class nor a path.
        FileNotFoundError, ValueError
            If :meth:`load` raises it.

        Notes
        -----
        In scvi-tools a query adds parameters for its batches, which are then trained while others are frozen. This
        model has no parameters of batches: nothing is added or frozen, and it answers at once, without training.
        ``train`` fine-tunes all of it, on labelled cells of the types that the reference knows.
        """
        if isinstance(reference_model, str | os.PathLike):
            model = load_model(cls, Path(reference_model), adata, accelerator, device)
        else:
            _check_reference(cls, reference_model)
            model = model_of(cls, _copied(reference_model), Path("reference_model"))
            attach(model, adata)
            model.to_device(device_of(accelerator, device))
        model._holds_query = True  # the row numbers of the split are not of these cells
        return model

    def refit_on_genes(self, query: AnnData, *, gene_id_key: str | None = None, **train_kwargs: Any) -> "Self":
        """Train another model on the same cells and only those genes that a query has, too.

        A model reads the genes of a cell that are there, in units of their sum. Where a query measured few of the
        genes, its sums are of other genes than those of the reference, and markers are missing. A reference that is cut
        to the genes of both before it trains has all its markers in the query, and has less to tell types by. Sums of
        the query still count genes that the new model lacks: where there are many, pass it the genes of both, such as
        ``query[:, query.var_names.isin(made.adata.var_names)]`` of the model that was ``made``.

        Parameters
        ----------
        query
            Cells whose gene names are read, and nothing else.
        gene_id_key
            Column of ``query.var`` with the gene names; ``None`` looks where :meth:`setup_anndata` was told to look.
        **train_kwargs
            Arguments of :meth:`train`; those of the former training are not remembered.

        Returns
        -------
        A new model, trained on a copy of the cells. This one stays as it is, in memory and where it was saved.

        Raises
        ------
        ValueError
            If this model does not hold the cells of its training, started from pretrained weights, or the query has
            none or all of its genes.
        """
        made = untrained_on_genes(self, query, gene_id_key)
        made.train(**train_kwargs)
        return made

    @classmethod
    def prepare_query_anndata(
        cls,
        adata: AnnData,
        reference_model: Reference,
        return_reference_var_names: bool = False,
        inplace: bool = True,
    ) -> AnnData | pd.Index | None:
        """Check that cells can be read by a reference.

        Parameters
        ----------
        adata
            The cells.
        reference_model
            A model, or the folder of a saved one.
        return_reference_var_names
            Whether to return only the names of the reference's genes.
        inplace
            Whether to return nothing; otherwise a copy of the cells is returned.

        Returns
        -------
        The genes of the reference, a copy of the cells, or nothing.

        Raises
        ------
        ValueError
            If the cells share no gene with the reference, or their values cannot be ranked.

        Notes
        -----
        In scvi-tools this pads genes that the query lacks with zeros and sorts the others. This model reads the genes
        of a cell by their names: it needs no padding, and the cells stay as they are.
        """
        if isinstance(reference_model, str | os.PathLike):
            reference_model = load_model(cls, Path(reference_model), False, "cpu", "auto")
        _check_reference(cls, reference_model)
        if return_reference_var_names:
            return pd.Index(reference_model._vocabulary.gene_ids)
        reference_model._source(adata)
        return None if inplace else adata.copy()

    @staticmethod
    def load_registry(dir_path: str | os.PathLike[str], prefix: str | None = None) -> dict[str, Any]:
        """Read the registry that was saved with a model.

        Parameters
        ----------
        dir_path
            The folder of the model.
        prefix
            Text before the names of its files.

        Raises
        ------
        FileNotFoundError, ValueError
            If :meth:`load` raises it.
        """
        saved = read_model(Path(dir_path), prefix)
        registry = saved.meta["registry"]
        registry["field_registries"]["X"]["state_registry"][VOCABULARY_KEY] = saved.vocabulary.to_dict()
        return registry

    @staticmethod
    def view_setup_args(dir_path: str | os.PathLike[str], prefix: str | None = None) -> None:
        """Print how ``setup_anndata`` was called for a saved model.

        Parameters
        ----------
        dir_path, prefix
            As in :meth:`load_registry`.

        Raises
        ------
        FileNotFoundError, ValueError
            If :meth:`load` raises it.
        """
        AnnDataManager.view_setup_method_args(StorageMixin.load_registry(dir_path, prefix))


def _check_reference(cls: type[BaseModelClass], reference: object) -> None:
    if not isinstance(reference, cls):
        raise TypeError(
            f"reference_model must be a {cls.__name__} or the folder of a saved one. Got {type(reference).__name__}. "
            "Pass one of these."
        )


def _copied(reference: BaseModelClass) -> Any:
    """Copy what a model consists of, so that training one leaves the other alone."""
    content = content_of(reference)
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in content.tensors.items()}
    return dataclasses.replace(content, meta=copy.deepcopy(content.meta), tensors=tensors)
