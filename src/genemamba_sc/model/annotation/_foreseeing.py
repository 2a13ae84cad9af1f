"""Refuse, before minutes of training, what the model that it makes could not answer."""

from typing import Any

from anndata import AnnData

from genemamba_sc.data import GeneAliases
from genemamba_sc.model.annotation._annotating import Asked
from genemamba_sc.model.annotation._calibrated import rare_types
from genemamba_sc.model.annotation._calibrating import labels_to_calibrate_on


def check_query(
    model: Any, query: AnnData, asked: Asked, aliases: GeneAliases | None, scale: str | None = None
) -> None:
    """Refuse a query, and choices of ``annotate``, that a model will refuse when it is trained as ``train`` chooses.

    Parameters
    ----------
    model
        Model with cell types, set up and not trained.
    query
        Cells to annotate by it.
    asked
        What is to be said about them.
    aliases
        Table of gene names that the model will have then.
    scale
        What the values of the query are; ``None`` finds it out from them.

    Raises
    ------
    TypeError, ValueError
        If a choice is out of range, the cells cannot be read, or calibration cells will be too few.
    """
    asked.check_choices(model.cell_types, query)
    if asked.asks_sets or asked.reject_unknown is not False:
        labels = labels_to_calibrate_on(model)
        if not len(labels):
            why = rare_types(model) or "too few are labelled"
            raise ValueError(
                "Label sets and the score of unknown cells need calibration cells: labelled ones that the training "
                f"leaves out. This reference can spare none: {why}. Leave such types out of it, or leave out coverage, "
                "per_type and reject_unknown."
            )
        asked.check_cells(labels, model.cell_types)
    before, model.gene_aliases = model.gene_aliases, aliases
    try:
        model._source(query, scale=scale)
    finally:
        model.gene_aliases = before
