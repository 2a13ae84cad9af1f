"""Make models from pretrained weights, and pretrained weights from models."""

import dataclasses
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import scvi
from anndata import AnnData
from scvi.model.base import BaseModelClass

from genemamba_sc._version import __version__
from genemamba_sc.data import GeneAliases, GeneVocabulary
from genemamba_sc.data.tokens._cell_hashes import CellHashes
from genemamba_sc.model._doubts import doubt_once
from genemamba_sc.model._module import GeneMambaModule
from genemamba_sc.model._origin import Origin
from genemamba_sc.model.storage._persistence import device_of
from genemamba_sc.model.storage._pretrained_genes import registered_source, registry_of, use_vocabulary
from genemamba_sc.nn._config import Combine
from genemamba_sc.weights._hub import upload
from genemamba_sc.weights._read import Pretrained, read_pretrained, write_pretrained

if TYPE_CHECKING:  # the type checks under pytest do not know Self
    from typing import Self


class PretrainedMixin(BaseModelClass):
    """Add to :class:`genemamba_sc.GeneMambaModel` what it does with pretrained weights.

    ``origin`` says where the weights come from. ``pretrained_`` holds ``origin``, ``manifest`` and ``evaluation`` of
    the weights that a model started from, and ``pretrained_cells_`` the hashes of their cells; both are ``None`` where
    the model started from scratch, the latter also where there are no hashes. ``is_trained_`` says whether
    :meth:`train` has run.
    """

    module: GeneMambaModule
    max_len_: int
    history_: Any
    registry_: dict[str, Any]
    gene_aliases: GeneAliases | None
    pretrained_cells_: CellHashes | None = None
    _vocabulary: GeneVocabulary
    _origin: Origin = Origin()
    _doubts_open: bool = False

    @property
    def origin(self) -> Origin:
        """Where the weights come from, and whether they were trained since."""
        n_epochs = max(map(len, (self.history_ or {}).values()), default=0)
        return dataclasses.replace(self._origin, is_trained=self.is_trained_, n_epochs=n_epochs)

    @property
    def pretrained_(self) -> dict[str, Any] | None:
        """Name (``origin``), ``manifest`` and ``evaluation`` of the weights it started from; ``None`` from scratch."""
        return self._origin.as_pretrained()

    @property
    def summary_string(self) -> str:
        """What the model is, and whether it was trained."""
        status = "Trained" if self.origin.is_trained else "Pretrained" if self.origin.is_pretrained else "Not Trained"
        return f"{self._model_summary_string}\nTraining status: {status}"

    @BaseModelClass.is_trained.getter
    def is_trained(self) -> bool:
        """Return whether the model may be queried: it was trained, or started from pretrained weights."""
        return self.origin.knows_genes

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        adata: AnnData | None = None,
        *,
        revision: str | None = None,
        subfolder: str | None = None,
        combine: Combine | None = None,
        medians: str | os.PathLike[str] | None = None,
        accelerator: str = "auto",
        device: int | str = "auto",
    ) -> "Self":
        """Start from pretrained weights; the model embeds cells at once.

        Parameters
        ----------
        name_or_path
            A folder; the name of a checkpoint that ships with the package; or ``owner/name`` on the Hugging Face Hub.
            Weights of this package and those that the authors of GeneMamba published, both of their layouts.
        adata
            Registered AnnData to fine-tune on with :meth:`train`; its genes are registered anew by the vocabulary of
            the checkpoint. ``None`` gives a model that embeds any cells and cannot be trained.
        revision
            Full commit hash; it is required for the hub.
        subfolder
            Folder inside the checkpoint that holds the weights.
        combine
            How a combiner is used, for published weights whose ``config.json`` does not say it.
        medians
            Table of the genes' non-zero medians (columns ``ensembl_id``, ``nonzero_median``), for published weights.
        accelerator, device
            Where the weights are placed, as in scvi-tools.

        Returns
        -------
        The model, in evaluation mode.

        Raises
        ------
        FileNotFoundError
            If there is no such checkpoint, or a file of it is missing.
        ValueError
            If a file is damaged or pickled, weights do not fit, ``adata`` is not registered or shares no gene with the
            vocabulary, or ``revision`` is missing.
        ImportError
            If the hub is needed and huggingface_hub is not installed.
        OSError
            If the hub cannot be reached.

        Warns
        -----
        UserWarning
            If embeddings of a few hundred of the cells tell no more than sums of random gene vectors, or are all alike.

        Notes
        -----
        Without ``adata`` the first cells to be embedded are compared; fewer than 60 cells tell nothing.

        :meth:`train` starts new heads and keeps the gene table as it is, unless ``plan_kwargs={"table_lr": ...}``.
        """
        if not (adata is None or isinstance(adata, AnnData)):
            raise TypeError(f"adata must be an AnnData or None. Got {type(adata).__name__}. Read it with read_h5ad.")
        target = device_of(accelerator, device)
        found = read_pretrained(name_or_path, revision=revision, subfolder=subfolder, combine=combine, medians=medians)
        choices = {"encoder_config": found.encoder_config, "max_len": found.max_len}
        if adata is None:
            model = cls(registry=registry_of(cls, found.vocabulary), **choices)
        else:
            use_vocabulary(cls, adata, found.vocabulary)
            model = cls(adata, **choices)
        has_head = load_weights(model.module, found)
        model._origin = Origin(found.origin, found.manifest, found.evaluation, has_head)
        model.pretrained_cells_ = found.cells
        model.to_device(target)
        model.module.eval()
        model._doubts_open = True
        if adata is not None:
            doubt_once(model, registered_source(adata, model))
        return model

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        *,
        manifest: Mapping[str, Any] | None = None,
        evaluation: Sequence[Mapping[str, Any]] = (),
        overwrite: bool = False,
    ) -> None:
        """Write encoder, genes and a model card, for others to start from; :meth:`save` keeps the whole model.

        The folder does not contain the cell-type head, the integration of batches, the history and the registry.

        Parameters
        ----------
        folder
            Folder to write; see :func:`genemamba_sc.write_pretrained` for its files.
        manifest
            What the card says: ``title``, ``license``, ``training_data``, ``intended_use``, ``limits``, and anything
            else that JSON holds.
        evaluation
            Rows of the table of results.
        overwrite
            Whether an existing folder of this kind is replaced.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        FileExistsError
            If the folder exists and ``overwrite`` is off, or the folder is something else.
        """
        write_pretrained(Path(folder), as_pretrained(self, manifest or {}, evaluation), overwrite=overwrite)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        manifest: Mapping[str, Any] | None = None,
        evaluation: Sequence[Mapping[str, Any]] = (),
        private: bool = True,
        message: str = "Weights of genemamba-sc",
    ) -> str:
        """Upload what :meth:`save_pretrained` writes to the Hugging Face Hub, as one commit.

        Parameters
        ----------
        repo_id
            Repository, as ``owner/name``; it is created if it does not exist. Log in with ``hf auth login`` first.
        manifest, evaluation
            As in :meth:`save_pretrained`.
        private
            Whether a new repository is private.
        message
            Message of the commit.

        Returns
        -------
        The commit hash, which is the ``revision`` for :meth:`from_pretrained`.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        ImportError
            If huggingface_hub is not installed.
        OSError
            If the upload fails.
        """
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "checkpoint"
            self.save_pretrained(folder, manifest=manifest, evaluation=evaluation)
            return upload(folder, repo_id, private=private, message=message)


def as_pretrained(
    model: PretrainedMixin, manifest: Mapping[str, Any], evaluation: Sequence[Mapping[str, Any]]
) -> Pretrained:
    """Extract encoder, gene head and genes from a model.

    Parameters
    ----------
    model
        A trained model; another one is refused with a RuntimeError.
    manifest
        Entries that take precedence over those known from the model.
    evaluation
        Rows of the table of results.
    """
    origin, base = model.origin, model.pretrained_
    if not origin.knows_genes:
        raise RuntimeError("Weights are worth keeping once they are trained; this model is not. Call train() first.")
    known: dict[str, Any] = {"versions": {"genemamba_sc": __version__, "scvi-tools": scvi.__version__}}
    rows = [dict(row) for row in evaluation]
    if base is not None and not origin.n_epochs:
        # The weights are as they were read: what was said about them still holds.
        known |= base["manifest"]
        rows = rows or base["evaluation"]
    else:
        known["n_training_cells"] = len(model.train_indices_) if model.train_indices_ is not None else 0
        known |= {} if base is None else {"fine_tuned_from": base["origin"], "base_manifest": base["manifest"]}
    return Pretrained(
        encoder_config=model.module.encoder_config,
        encoder=dict(model.module.encoder.state_dict()),
        gene_head=dict(model.module.gene_head.state_dict()),
        vocabulary=model._vocabulary,
        max_len=model.max_len_,
        manifest={**known, **manifest},
        evaluation=rows,
        origin=type(model).__name__,
        cells=None if origin.n_epochs else model.pretrained_cells_,  # not all of them, once it was trained on others
    )


def load_weights(module: GeneMambaModule, pretrained: Pretrained) -> bool:
    """Put pretrained weights into a module: the encoder always, the gene head if it is of the same kind.

    Returns
    -------
    Whether the weights had such a head.
    """
    module.encoder.load_state_dict(pretrained.encoder)
    head, stored = module.gene_head.state_dict(), pretrained.gene_head
    # A separate output layer, as the published models have, is another kind of head: train() starts a new one.
    fits = {name: tensor.shape for name, tensor in head.items()} == {n: tensor.shape for n, tensor in stored.items()}
    if fits:
        module.gene_head.load_state_dict(stored)
    return fits
