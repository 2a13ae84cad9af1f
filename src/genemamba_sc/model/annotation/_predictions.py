"""Answer queries about cell types: predictions, how sure they are, and on which cells that is calibrated."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from genemamba_sc._checks import CellIndices, row_numbers, yes_or_no
from genemamba_sc.confidence import Calibration, LabelSets
from genemamba_sc.data import Scale
from genemamba_sc.model._inference import cell_type_logits
from genemamba_sc.model._integrated_cells import asks_integration, integrate_cells
from genemamba_sc.model._queries import QueryMixin
from genemamba_sc.model.annotation._annotating import (
    Asked,
    annotation_of,
    calibrated,
    check_sets,
    probabilities_of_model,
    warn_if_cells_differ,
)
from genemamba_sc.model.annotation._annotation import Annotation, require_cell_types, write_annotation
from genemamba_sc.model.annotation._calibrating import calibration_on


class PredictionMixin(QueryMixin):
    """Add to :class:`genemamba_sc.GeneMambaModel` what it says about cell types; only :meth:`calibrate` changes it."""

    calibration_: Calibration | None

    def predict_celltype(
        self,
        adata: AnnData | None = None,
        indices: CellIndices | None = None,
        soft: bool = False,
        batch_size: int | None = None,
        *,
        layer: str | None = None,
        gene_id_key: str | None = None,
        scale: Scale | None = None,
        return_sets: bool = False,
        coverage: float | None = None,
        per_type: bool = False,
        allow_empty: bool = True,
    ) -> pd.Categorical | pd.DataFrame | tuple[pd.Categorical | pd.DataFrame, LabelSets]:
        """Predict cell types, as :meth:`scvi.model.SCANVI.predict` does, but as a categorical in place of an array.

        Parameters
        ----------
        adata, indices
            As in :meth:`get_latent_representation`; no labels are needed.
        soft
            Whether to return the probability of every type. A model with calibration cells has divided its scores by
            a temperature for it, which changes no prediction.
        batch_size, layer, gene_id_key, scale
            As in :meth:`get_latent_representation`.
        return_sets
            Whether to return sets of types as well.
        coverage
            Share of the sets that hold the right type, in (0, 1); ``None`` takes 0.9. It holds on average for cells
            that could be exchanged with the calibration cells: cells like those of the training. It may be missed for
            cells of another study, condition or protocol; :meth:`calibrate` on some labelled cells of these restores
            it.
        per_type
            Whether it is to hold for the cells of every type, which takes as many calibration cells of each type.
        allow_empty
            Whether a set may be empty: no type is likely enough. Otherwise the predicted type is in every set, and
            more than the stated share hold the right one.

        Returns
        -------
        Labels as they are in the ``obs`` of the training, shape (n_obs,), a :class:`pandas.Categorical` whose
        categories are :attr:`cell_types` in that order, also those that no cell has: as a column of ``obs`` it has the
        order of the reference, and the colours that scanpy gives by that order. (:meth:`annotate` also copies colours
        of your own, and leaves out types that no cell has, which scanpy's dot plots refuse.) ``numpy.asarray`` makes
        an array of it; pandas compares two categoricals only where they have the same categories. With ``soft`` a
        DataFrame, cells × types, whose rows sum to one. The unlabelled category is never predicted. With
        ``return_sets`` a pair of this and of :class:`genemamba_sc.LabelSets`.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        TypeError
            If a choice is no bool.
        ValueError
            If the model was set up or trained without labels, ``adata`` cannot be read, or sets are asked for that the
            calibration cells are too few for.

        Examples
        --------
        >>> query.obs["predicted"] = model.predict_celltype(query)
        >>> query.obs["predicted"].cat.categories.tolist()
        ['B cell', 'T cell', 'monocyte']
        """
        adata = self._query(adata)
        require_cell_types(self)
        yes_or_no("soft", soft)
        asked = check_sets(self, return_sets, coverage, per_type, allow_empty)
        source, rows = self._source(adata, layer, gene_id_key, scale), row_numbers(indices, adata.n_obs)
        types, names = pd.Index(self.cell_types), adata.obs_names[rows]
        logits = cell_type_logits(self.module, source, rows, batch_size=batch_size)
        if soft:
            answer: Any = pd.DataFrame(probabilities_of_model(self, logits), index=names, columns=types)
        else:
            answer = pd.Categorical.from_codes(logits.argmax(axis=1), categories=types)
        if not return_sets:
            return answer
        choices = {"per_type": per_type, "allow_empty": allow_empty}
        return answer, calibrated(self).sets(logits, names, self.cell_types, asked, **choices)

    predict = predict_celltype

    def annotate(
        self,
        adata: AnnData | None = None,
        *,
        batch_size: int | None = None,
        layer: str | None = None,
        gene_id_key: str | None = None,
        scale: Scale | None = None,
        batch_key: str | None = None,
        integrated: bool | None = None,
        coverage: float | None = None,
        per_type: bool = False,
        allow_empty: bool = True,
        reject_unknown: bool | float = False,
        majority_voting: str | None = None,
    ) -> Annotation:
        """Predict the type of every cell, and write what the model says about it, in one pass.

        ``adata.obs`` gets ``genemamba_celltype`` (the types that occur, in the order of :attr:`cell_types`, with the
        colours of the reference where it has any) and ``genemamba_confidence`` (the probability of that type). A model
        with calibration cells also writes ``genemamba_set`` (the types that the cell may be of, joined by ``" | "``)
        and ``genemamba_unknown`` (the share of the calibration cells that look more like cells of known types).
        ``adata.obsm`` gets the embedding ``X_genemamba``; ``adata.uns["genemamba"]`` says what the model was, on which
        cells it is calibrated, and what was asked.

        Parameters
        ----------
        adata, batch_size, layer, gene_id_key, scale, batch_key, integrated
            As in :meth:`get_latent_representation`; types and confidence do not depend on the last two.
        coverage, per_type, allow_empty
            As in :meth:`predict_celltype`. ``coverage=None`` takes 0.9, and writes no sets, with a warning, where the
            calibration cells are too few for it and none of these was given.
        reject_unknown
            Whether cells that look less like known types than 95 % of the calibration cells are called ``"Unknown"``;
            otherwise they keep the nearest type. A number is the share of cells of known types that may be lost so, in
            place of 0.05.
        majority_voting
            Column of ``obs`` with clusters, whose most frequent type is written to ``genemamba_majority_voting`` for
            all their cells. Where there is no column ``"leiden"``, this name stands for clusters that are made here
            from the embedding, small ones as CellTypist makes, and written to ``genemamba_over_clustering``.

        Returns
        -------
        The same results, as arrays.

        Raises
        ------
        RuntimeError, ValueError
            If :meth:`predict_celltype` raises it, or something is asked that needs calibration cells and there are
            none, or too few.

        Examples
        --------
        >>> found = model.annotate(query)
        >>> query.obs["genemamba_celltype"].cat.categories.tolist()
        ['B cell', 'T cell', 'monocyte']
        """
        adata = self._query(adata)
        require_cell_types(self)
        asked = Asked(coverage, per_type, allow_empty, reject_unknown, majority_voting)
        asked.check(self, adata)
        integrates = asks_integration(self, adata, batch_key, integrated)
        source = self._source(adata, layer, gene_id_key, scale)
        found = annotation_of(self, source, adata, batch_size, asked)
        if integrates:
            rows = np.arange(adata.n_obs)
            found = replace(found, embedding=integrate_cells(self, adata, rows, found.embedding, batch_key))
        found = asked.voted(adata, found)
        write_annotation(self, adata, found)
        # The model is surer of the cells that trained it, which is no news; a loaded one may hold any cells.
        if adata is not self.adata or getattr(self, "trainer", None) is None:
            warn_if_cells_differ(found)
        return found

    def calibrate(
        self,
        adata: AnnData,
        labels_key: str,
        indices: CellIndices | None = None,
        *,
        layer: str | None = None,
        gene_id_key: str | None = None,
        scale: Scale | None = None,
    ) -> None:
        """Calibrate probabilities, label sets and the score of unknown cells on labelled cells.

        :meth:`train` does it by itself, on its validation cells. Call this where these are too few, where the model was
        trained without any or saved before there were calibrations, or where the cells to annotate differ from those
        of the training: on labelled cells that differ as they do, such as some hundred cells of the new study. What is
        stated then holds for cells like these. Predictions do not change. :meth:`save` keeps the calibration, which
        replaces the one before; the next :meth:`train` replaces it again.

        Parameters
        ----------
        adata
            Cells that neither trained nor validated the model, a random sample of those that the statements are to
            hold for; of more than 10,000 cells a random 10,000 are taken.
        labels_key
            Column of ``obs`` with their types, all of which the model must know. Cells of the ``unlabeled_category``
            of :meth:`setup_anndata` do not count.
        indices
            Which cells, each once; ``None`` takes all. Labels of other cells are not read: they may be missing, or of
            any type.
        layer, gene_id_key, scale
            As in :meth:`get_latent_representation`.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        ValueError
            If it knows no cell types, a cell is named twice, cells trained it, a type is new to it, or a label is
            missing. Cells of the training are told by their names, where the model holds the cells that it was trained
            on; names that only number the rows (AnnData's default) count where the tokens of a few cells are the same,
            too.
        """
        adata = self._query(adata)
        require_cell_types(self)
        rows = row_numbers(indices, adata.n_obs)
        source = self._source(adata, layer, gene_id_key, scale)
        self.calibration_ = calibration_on(self, adata, labels_key, rows, source)
