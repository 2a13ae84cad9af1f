"""List the genes behind the score of each type, from the linear part of the cell-type head."""

import numpy as np
import pandas as pd

from genemamba_sc._checks import whole_number
from genemamba_sc._constants import FIRST_GENE_ID
from genemamba_sc.model import GeneMambaModel
from genemamba_sc.model.annotation._annotation import require_cell_types
from genemamba_sc.tl._cells import require_model
from genemamba_sc.tl._genes import ids_and_symbols
from genemamba_sc.tl.attribution._targets import head_of


def marker_genes(model: GeneMambaModel, n: int = 10) -> pd.DataFrame:
    """List the genes that add most to the marker score of each type where they are expressed at their median.

    The marker scores are a linear regression on expression, fitted before the encoder is trained; programs and encoder
    add to them (see :func:`attribute` for what all parts do in given cells).

    Parameters
    ----------
    model
        A trained model with cell types.
    n
        Number of genes per type.

    Returns
    -------
    pandas.DataFrame
        A row per type and gene, the largest contribution first: ``cell_type``, ``gene_id``, ``symbol``; ``weight``, the
        score per ``log1p`` of the counts per 10,000, minus its mean over the types, which no prediction depends on; and
        ``contribution``, the weight times that level at the gene's non-zero median.

    Raises
    ------
    TypeError
        If the model is none, or ``n`` is no whole number.
    RuntimeError
        If the model is not trained.
    ValueError
        If the model knows no cell types, or ``n`` is too small.

    Examples
    --------
    >>> gm.tl.marker_genes(model, n=1)["cell_type"].tolist()
    ['B cell', 'T cell', 'monocyte']
    """
    require_model(model)
    if not model.is_trained:
        raise RuntimeError("The model is not trained. Call train(), or load() a trained one, before querying it.")
    require_cell_types(model)
    n = min(whole_number("n", n, 1), model.vocabulary.n_genes)
    genes = slice(FIRST_GENE_ID, model.vocabulary.cls_id)
    markers = head_of(model.module).markers.double().cpu().numpy()[genes]
    weights = markers - markers.mean(axis=1, keepdims=True)
    adds = weights * np.log1p(model.vocabulary.medians)[:, None]
    parts = []
    for kind, name in enumerate(model.cell_types):
        best = np.argsort(-adds[:, kind], kind="stable")[:n]
        ids, symbols = ids_and_symbols(model.vocabulary, best + FIRST_GENE_ID)
        numbers = {"weight": weights[best, kind], "contribution": adds[best, kind]}
        parts.append(pd.DataFrame({"cell_type": name, "gene_id": ids, "symbol": symbols, **numbers}))
    return pd.concat(parts, ignore_index=True)
