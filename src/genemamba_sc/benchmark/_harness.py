"""Give pretrained weights the form in which the field's harnesses ask a model for embeddings and labels."""

import os
from pathlib import Path

import numpy as np
import scvi
from anndata import AnnData
from jaxtyping import Float32

from genemamba_sc.model import GeneMambaModel
from genemamba_sc.model.annotation._annotation import store
from genemamba_sc.weights._folder import CONFIG_FILE, config_or_none
from genemamba_sc.weights._saved_model import is_own


class HarnessModel:
    """Embed and annotate for a harness: VCBench calls it; scib-metrics, cz-benchmarks, Open Problems read its output.

    VCBench asks for a subclass of its own ``FoundationModel``: name this class first, and both methods are there.

    Parameters
    ----------
    name_or_path
        What :meth:`load_pretrained` takes; ``None`` loads nothing yet.
    layer
        Layer with the expression; ``None`` reads ``X``. Open Problems keeps counts in ``layers["counts"]``.
    gene_id_key
        Column of ``var`` with the genes; ``None`` takes ``var_names``. Open Problems keeps Ensembl ids in
        ``var["feature_id"]``.
    accelerator
        Where the model runs, as in scvi-tools.
    """

    name = "GeneMamba"

    def __init__(
        self,
        name_or_path: str | os.PathLike[str] | None = None,
        *,
        layer: str | None = None,
        gene_id_key: str | None = None,
        accelerator: str = "auto",
    ) -> None:
        self.layer, self.gene_id_key, self.accelerator = layer, gene_id_key, accelerator
        self._model: GeneMambaModel | None = None
        self._weights: str | os.PathLike[str] | None = None
        if name_or_path is not None:
            self.load_pretrained(name_or_path)

    def load_pretrained(self, checkpoint_path: str | os.PathLike[str]) -> None:
        """Load weights.

        Parameters
        ----------
        checkpoint_path
            Folder of weights or of a saved model, or a name of weights that ship with the package: ``"mini"``.

        Raises
        ------
        FileNotFoundError
            If there are no such weights.
        ValueError
            If they are damaged.
        """
        is_saved = is_own(config_or_none(Path(checkpoint_path) / CONFIG_FILE))
        self._weights = None if is_saved else checkpoint_path
        if is_saved:
            self._model = GeneMambaModel.load(os.fspath(checkpoint_path), adata=False, accelerator=self.accelerator)
        else:
            self._model = GeneMambaModel.from_pretrained(checkpoint_path, accelerator=self.accelerator)

    def embed(self, adata: AnnData) -> Float32[np.ndarray, "n d"]:
        """Return the embeddings of cells; nothing is written to ``adata``.

        Parameters
        ----------
        adata
            The cells.

        Raises
        ------
        RuntimeError
            If no weights are loaded.
        ValueError
            If the cells cannot be read.
        """
        if self._model is None:
            raise RuntimeError("Weights embed cells. Got none. Call load_pretrained('mini'), or another name, first.")
        return self._model.get_latent_representation(
            adata, key_added=None, layer=self.layer, gene_id_key=self.gene_id_key
        )

    def add_embedding(self, adata: AnnData, key: str = "X_emb") -> None:
        """Write the embedding to ``obsm``, where scib-metrics and Open Problems read it.

        Parameters
        ----------
        adata
            The cells.
        key
            Key of ``obsm``; Open Problems reads ``"X_emb"``, scib-metrics any.

        Raises
        ------
        RuntimeError, ValueError
            As in :meth:`embed`.
        """
        store(adata, key, self.embed(adata))

    def project_labels(
        self, train: AnnData, test: AnnData, labels_key: str = "label", *, max_epochs: int = 0, seed: int = 0
    ) -> None:
        """Train on labelled cells from the loaded weights, and write ``test.obs["label_pred"]``, as Open Problems asks.

        Parameters
        ----------
        train
            Labelled cells; they are copied.
        test
            Cells to name; their labels, if there are any, are not read.
        labels_key
            Column of ``train.obs`` with the labels.
        max_epochs
            Passes over the cells; 0 fits the head and leaves the encoder as it is.
        seed
            Seed of the training.

        Raises
        ------
        RuntimeError
            If no weights are loaded, or a saved model is: its labels are its own.
        ValueError
            If there is no such column, or the cells cannot be read.
        """
        if self._weights is None:
            raise RuntimeError(
                "Labels are learned from pretrained weights. Got none, or a saved model, which has labels of its own. "
                "Call load_pretrained('mini'), or another name, first."
            )
        scvi.settings.seed = seed
        cells = train.copy()
        GeneMambaModel.setup_anndata(cells, labels_key=labels_key, layer=self.layer, gene_id_key=self.gene_id_key)
        model = GeneMambaModel.from_pretrained(self._weights, cells, accelerator=self.accelerator)
        model.train(max_epochs=max_epochs, accelerator=self.accelerator, enable_progress_bar=False)
        test.obs["label_pred"] = np.asarray(model.predict_celltype(test)).astype(str)
